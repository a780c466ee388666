"""Log probabilities of tokens by the model itself.

They are of the log softmax of the model's own logits: before bias, penalties, temperature and filters, which
is vLLM's default and OpenAI's meaning.  Letters: R rows, V vocabulary.
"""

from dataclasses import dataclass

from torch import Tensor

from gemcut.kernels.norm import at_least_float32

BLOCK = 128  # logits whose largest is taken first


@dataclass(frozen=True)
class TokenLogprobs:
    """One token's natural-log probability, and those of the likeliest tokens in its place, likeliest first.

    top: (token id, log probability), as many as were asked for; the token itself may be one of them.
    """

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...]


def token_logprobs(logits: Tensor, ids: Tensor, num_top: int) -> list[TokenLogprobs]:
    """For each row of logits (R, V) that of its token of `ids` (R,), and of the num_top likeliest."""
    wide = logits.to(at_least_float32(logits.dtype))
    total = wide.logsumexp(-1, keepdim=True)  # (R, 1)
    chosen = (wide.gather(1, ids[:, None]) - total)[:, 0].tolist()
    values, places = largest(wide, min(num_top, wide.shape[1]))
    tops = zip(places.tolist(), (values - total).tolist(), strict=True)
    return [
        TokenLogprobs(token_id, logprob, tuple(zip(top_ids, top, strict=True)))
        for token_id, logprob, (top_ids, top) in zip(ids.tolist(), chosen, tops, strict=True)
    ]


def largest(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest values of each row of x (R, V) and their places, both (R, count), largest first.

    The largest are in the `count` blocks with the largest maxima, so only these are searched.
    """
    rows, width = x.shape
    blocks = width // BLOCK
    if width % BLOCK or 2 * count > blocks:
        return x.topk(count)
    split = x.view(rows, blocks, BLOCK)
    best = split.amax(-1).topk(count).indices  # (R, count)
    inside = split.gather(1, best[..., None].expand(-1, -1, BLOCK))  # (R, count, BLOCK)
    values, places = inside.flatten(1).topk(count)
    return values, best.gather(1, places // BLOCK) * BLOCK + places % BLOCK
