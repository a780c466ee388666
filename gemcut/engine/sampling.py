"""From logits to the next tokens of many replies at once.

Probabilities become whole numbers, the likeliest token's 2^44, because sums of whole numbers are the same in
any order: a row gives the same token alone, in any batch, and on every device where its weights are equal.
What is filtered is decided by thresholds, so equal logits share their fate and no order among them matters.
Letters: R rows, V vocabulary, K likeliest tokens.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gemcut.engine.adjustments import Adjustments
from gemcut.engine.draws import uniform
from gemcut.engine.logprobs import TokenLogprobs, largest, token_logprobs
from gemcut.engine.sampling_params import Sampling
from gemcut.kernels.norm import at_least_float32

ONE = 2**44  # the likeliest token's weight: the sum of 2^18 such stays below 2^63
BLOCK = 512  # weights that are summed first
NUCLEUS = 512  # likeliest tokens among which top_p alone is tried before all are sorted
ROWS_AT_ONCE = 16  # drawn together, which bounds the memory of their weights
ROWS_IN_CACHE = 2  # the same on a CPU, where they are read again and again
PEAK_BLOCK = 64  # logits whose largest is taken first
FEW = 256  # of top_k, so that most logits need not be looked at

PARAMETERS = np.dtype(
    [
        ("temperature", "f8"),
        ("top_k", "i8"),  # 0 for all
        ("top_p", "f8"),
        ("min_p", "f8"),
        ("seed", "u8"),
        ("sample", "u8"),
        ("logprobs", "i8"),  # -1 for none
    ]
)


class BatchSampler:
    """Chooses the next tokens of replies; each holds a slot with its parameters and its tokens' counts.

    A seeded draw depends on the seed, the position in the reply and the sample's number only.
    """

    def __init__(self, num_slots: int, vocab_size: int, device: torch.device) -> None:
        assert vocab_size <= 2**18, "the sum of so many weights could overflow"
        self._parameters = np.zeros(num_slots, PARAMETERS)
        self._adjustments = Adjustments(num_slots, device)
        self._device = device
        self._rows_at_once = ROWS_IN_CACHE if device.type == "cpu" else ROWS_AT_ONCE

    def put(
        self,
        slot: int,
        sampling: Sampling,
        prompt_ids: Sequence[int],
        made_ids: Sequence[int] = (),
    ) -> None:
        """A reply takes this slot, whoever had it before.

        made_ids: what of the reply there is already, where it was preempted.
        """
        top_k = 0 if sampling.top_k is None else sampling.top_k
        logprobs = -1 if sampling.logprobs is None else sampling.logprobs
        filters = (sampling.temperature, top_k, sampling.top_p, sampling.min_p)
        self._parameters[slot] = (*filters, sampling.seed, sampling.sample, logprobs)
        self._adjustments.put(slot, sampling, prompt_ids, made_ids)

    def choose(
        self, logits: Tensor, slots: Sequence[int], positions: Sequence[int], permitted: Tensor | None = None
    ) -> Tensor:
        """The next token ids (R,).

        logits: (R, V); written to meanwhile, unchanged in the end.  slots: whose each row is.
        positions: how many tokens each reply has.  permitted: (R, V) bool, tokens that may be chosen; where
        none of them is left by min_tokens and suppressed ids, these give way.
        """
        places = np.asarray(slots, dtype=np.int64)
        rows, ids, former = self._adjustments.apply(logits, places, np.asarray(positions, dtype=np.int64))
        chosen = self._choose(_masked(logits, permitted), self._parameters[places], positions)
        logits[rows, ids] = former
        return chosen

    def observe(self, slots: Sequence[int], ids: Tensor) -> None:
        """The replies in these slots, none twice, go on with these tokens (R,): penalties will count them."""
        self._adjustments.observe(np.asarray(slots, dtype=np.int64), ids)

    def logprobs(self, logits: Tensor, slots: Sequence[int], ids: Tensor) -> list[TokenLogprobs | None]:
        """For each row of logits (R, V) that of its token of `ids` (R,), where its request wants any."""
        counts = self._parameters["logprobs"][np.asarray(slots, dtype=np.int64)]
        result: list[TokenLogprobs | None] = [None] * len(slots)
        for count in np.unique(counts[counts >= 0]):
            rows = np.flatnonzero(counts == count)
            made = token_logprobs(self._take(logits, rows), self._take(ids, rows), int(count))
            for row, item in zip(rows, made, strict=True):
                result[row] = item
        return result

    def _choose(self, logits: Tensor, parameters: NDArray[np.void], positions: Sequence[int]) -> Tensor:
        greedy = parameters["temperature"] == 0
        if greedy.all():
            return logits.argmax(-1)
        marks = uniform(parameters["seed"], positions, parameters["sample"])
        chosen = torch.empty(len(logits), dtype=torch.long, device=self._device)
        if greedy.any():
            rows = np.flatnonzero(greedy)
            chosen[torch.from_numpy(rows).to(self._device)] = self._take(logits, rows).argmax(-1)
        few = (parameters["top_k"] > 0) & (parameters["top_k"] <= FEW)
        for rows in self._parts(~greedy & few, ~greedy & ~few):
            mark = torch.from_numpy(marks[rows]).to(self._device)
            here = torch.from_numpy(rows).to(self._device)
            chosen[here] = _drawn(self._take(logits, rows), parameters[rows], mark)
        return chosen

    def _parts(self, *groups: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
        for group in groups:
            rows = np.flatnonzero(group)
            for start in range(0, len(rows), self._rows_at_once):
                yield rows[start : start + self._rows_at_once]

    def _take(self, x: Tensor, rows: NDArray[np.int64]) -> Tensor:
        return x if len(rows) == len(x) else x[torch.from_numpy(rows).to(self._device)]


def _masked(logits: Tensor, permitted: Tensor | None) -> Tensor:
    if permitted is None:
        return logits
    masked = logits.masked_fill(~permitted, float("-inf"))
    lost = masked.amax(-1, keepdim=True) == float("-inf")
    return masked.masked_fill_(lost & permitted, 0)


def _drawn(logits: Tensor, parameters: NDArray[np.void], mark: Tensor) -> Tensor:
    """Token ids (R,) of logits (R, V), where all rows have a top_k of at most FEW or none has."""
    top_k = int(parameters["top_k"].max())
    if not 0 < top_k <= FEW:
        return draw(filtered(logits, parameters), mark)
    some, ids = contenders(logits, top_k)
    return ids.gather(1, draw(filtered(some, parameters), mark)[:, None])[:, 0]


def contenders(logits: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """The logits (R, M) that may be among the top_k of their row, and their ids (R, M) in ascending order.

    They are in the blocks whose largest is no less than the top_k-th block's: top_k tokens are as large.
    """
    rows, size = logits.shape
    padded = F.pad(logits, (0, -size % PEAK_BLOCK), value=float("-inf")) if size % PEAK_BLOCK else logits
    split = padded.view(rows, -1, PEAK_BLOCK)
    peaks = split.amax(-1)  # (R, V / PEAK_BLOCK)
    least = peaks.topk(min(top_k, peaks.shape[1])).values[:, -1:]
    count = int((peaks >= least).sum(1).max())
    blocks = peaks.topk(count).indices.sort().values[..., None]  # (R, count, 1)
    ids = blocks * PEAK_BLOCK + torch.arange(PEAK_BLOCK, device=logits.device)
    return split.gather(1, blocks.expand(-1, -1, PEAK_BLOCK)).flatten(1), ids.flatten(1)


def filtered(logits: Tensor, parameters: NDArray[np.void]) -> Tensor:
    """Whole-number weights (R, V) in proportion to the probabilities, 0 for tokens that may not be drawn.

    logits: (R, V).  parameters: (R,) rows of PARAMETERS.  First the temperature, then top_k, top_p of what
    it left, and min_p: transformers' order.
    """
    weights = _weights(logits, parameters["temperature"])
    floors = torch.from_numpy(np.ceil(parameters["min_p"] * ONE).astype(np.int64)).to(logits.device)  # (R,)
    ranked = np.flatnonzero((parameters["top_k"] > 0) | (parameters["top_p"] < 1))
    if len(ranked):
        rows = torch.from_numpy(ranked).to(logits.device)
        all_rows = len(ranked) == len(logits)
        some = (logits, weights) if all_rows else (logits[rows], weights[rows])
        floors[rows] = torch.maximum(floors[rows], _floors(*some, parameters[ranked]))
    elif not parameters["min_p"].any():
        return weights
    return weights.masked_fill_(weights < floors[:, None], 0)


def _weights(logits: Tensor, temperature: NDArray[np.float64]) -> Tensor:
    wide = logits.to(at_least_float32(logits.dtype))
    divisor = torch.from_numpy(temperature).to(wide.device, wide.dtype)[:, None]
    divisor = divisor.clamp(min=torch.finfo(wide.dtype).tiny)  # next to 0 only the likeliest is left
    scaled = (wide - wide.amax(-1, keepdim=True)).div_(divisor)
    return scaled.exp_().mul_(ONE).long()


def _floors(logits: Tensor, weights: Tensor, parameters: NDArray[np.void]) -> Tensor:
    """The least weights (R,) that top_k and top_p leave, where each row has one of them."""
    size = logits.shape[1]
    top_k = np.minimum(parameters["top_k"], size)
    limited, cut = top_k > 0, parameters["top_p"] < 1
    count = max(int(top_k.max()), 0 if limited.all() else min(NUCLEUS, size))
    top = weights.gather(1, largest(logits, count)[1])  # (R, K), largest first
    last = torch.from_numpy(np.where(limited, top_k, 1) - 1).to(top.device)
    floors = top.gather(1, last[:, None])[:, 0]
    floors = floors.masked_fill(torch.from_numpy(~limited).to(top.device), 0)
    if not cut.any():
        return floors
    kept = weights.masked_fill(weights < floors[:, None], 0).sum(-1)  # (R,): the mass that top_k left
    share = torch.from_numpy(parameters["top_p"]).to(top.device) * kept
    least, found = _nucleus(top, share)
    unfound = ~found & torch.from_numpy(cut & ~limited).to(top.device)
    if count < size and bool(unfound.any()):  # flat distributions only
        least[unfound] = _nucleus(weights[unfound].sort(descending=True).values, share[unfound])[0]
    return torch.where(torch.from_numpy(cut).to(top.device), torch.maximum(floors, least), floors)


def _nucleus(top: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """The last weight (R,) of the fewest of top (R, K) that reach the share (R,), and whether they do."""
    ends = top.cumsum(1)
    number = (ends - top < share[:, None]).sum(1).clamp(min=1)
    least = top.gather(1, number[:, None] - 1)[:, 0]
    return least, ends[:, -1] >= share


def draw(weights: Tensor, mark: Tensor) -> Tensor:
    """The places (R,) at which the running sums of weights (R, V) pass the share `mark` (R,) of the whole.

    mark: float64 in [0, 1).  Sums of blocks come first, so only one block of a row is summed up one by one.
    """
    padded = F.pad(weights, (0, -weights.shape[1] % BLOCK)) if weights.shape[1] % BLOCK else weights
    blocks = padded.view(len(weights), -1, BLOCK)  # (R, V / BLOCK, BLOCK)
    sums = blocks.sum(-1)
    ends = sums.cumsum(-1)
    target = torch.minimum((mark * ends[:, -1]).long(), ends[:, -1] - 1)[:, None]  # (R, 1)
    block = torch.searchsorted(ends, target, right=True)
    rest = target - (ends - sums).gather(1, block)
    inside = blocks.gather(1, block[..., None].expand(-1, -1, BLOCK))[:, 0]  # (R, BLOCK)
    place = torch.searchsorted(inside.cumsum(-1), rest, right=True)
    return (block * BLOCK + place)[:, 0]
