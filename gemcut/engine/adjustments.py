"""Changes to the logits of single tokens: bias, penalties, tokens that are forbidden.

Letters: V vocabulary, S slots (replies under way), R rows of a step, W entries of a slot.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gemcut.engine.sampling_params import Sampling

ALWAYS = 2**62  # of `until`: more positions than any reply has
Indices = NDArray[np.int64]


class Adjustments:
    """What is to be changed in the logits of many replies; only the few tokens concerned are touched.

    Each slot has one entry for each of its tokens that is biased, forbidden or, where it has penalties,
    seen. Counts are kept as tokens come, so a step costs the entries, not the history nor the vocabulary.
    """

    def __init__(self, num_slots: int, device: torch.device) -> None:
        self._device = device
        self._ids = torch.zeros(num_slots, 0, dtype=torch.long, device=device)  # (S, W), as all of these
        self._bias = torch.zeros(num_slots, 0, dtype=torch.float64, device=device)
        self._until = torch.zeros(num_slots, 0, dtype=torch.long, device=device)  # forbidden before there
        self._seen = torch.zeros(num_slots, 0, dtype=torch.bool, device=device)  # in the prompt or the reply
        self._counts = torch.zeros(num_slots, 0, dtype=torch.long, device=device)  # in the reply
        self._sizes = torch.zeros(num_slots, dtype=torch.long, device=device)  # entries in use
        self._most = np.zeros(num_slots, dtype=np.int64)  # bounds of the sizes, known without the device
        self._counting = np.zeros(num_slots, dtype=bool)
        self._penalties = torch.zeros(num_slots, 3, dtype=torch.float64, device=device)

    def put(self, slot: int, sampling: Sampling, prompt_ids: Sequence[int], made_ids: Sequence[int]) -> None:
        """A reply takes this slot; made_ids: what of it there is already."""
        penalties = (sampling.repetition_penalty, sampling.presence_penalty, sampling.frequency_penalty)
        counting = penalties != (1, 0, 0)
        bias = dict(sampling.logit_bias)
        until = dict.fromkeys(sampling.stop_ids, sampling.min_tokens) if sampling.min_tokens else {}
        until |= dict.fromkeys(sampling.suppress_ids, ALWAYS)
        made = list(made_ids) if counting else []
        seen = {*made, *prompt_ids} if sampling.repetition_penalty != 1 else set(made)
        ids = list(dict.fromkeys((*bias, *until, *seen)))
        self._counting[slot], self._most[slot], self._sizes[slot] = counting, len(ids), len(ids)
        self._penalties[slot] = torch.tensor(penalties, dtype=torch.float64)
        self._widen(len(ids))
        columns = (
            (self._ids, ids),
            (self._bias, [bias.get(token_id, 0.0) for token_id in ids]),
            (self._until, [until.get(token_id, 0) for token_id in ids]),
            (self._seen, [token_id in seen for token_id in ids]),
            (self._counts, [0] * len(ids)),
        )
        for column, values in columns:
            column[slot, : len(ids)] = torch.tensor(values, dtype=column.dtype, device=self._device)
        if made:
            place = {token_id: number for number, token_id in enumerate(ids)}
            counts = np.bincount([place[token_id] for token_id in made], minlength=len(ids))
            self._counts[slot, : len(ids)] = torch.from_numpy(counts).to(self._device)

    def observe(self, slots: Indices, ids: Tensor) -> None:
        """Each of these replies, none twice, goes on with its token of `ids` (R,)."""
        rows = np.flatnonzero(self._counting[slots])
        if not len(rows):
            return
        slots = slots[rows]
        self._widen(int(self._most[slots].max()) + 1)
        self._most[slots] += 1
        here = torch.from_numpy(slots).to(self._device)
        new = ids[torch.from_numpy(rows).to(self._device)]
        sizes = self._sizes[here]
        used = torch.arange(self._ids.shape[1], device=self._device) < sizes[:, None]  # (R, W)
        same = used & (self._ids[here] == new[:, None])
        known = same.any(1)
        places = torch.where(known, same.long().argmax(1), sizes)
        self._ids[here, places] = new
        self._bias[here, places] = torch.where(known, self._bias[here, places], 0)
        self._until[here, places] = torch.where(known, self._until[here, places], 0)
        self._counts[here, places] = torch.where(known, self._counts[here, places], 0) + 1
        self._seen[here, places] = True
        self._sizes[here] = sizes + (~known).long()

    def apply(self, logits: Tensor, slots: Indices, positions: Indices) -> tuple[Tensor, Tensor, Tensor]:
        """Changes logits (R, V) in place; returns rows, ids and former values of what was changed.

        First the bias is added, then the penalties take their share (transformers' and vLLM's order).
        """
        width = int(self._most[slots].max(initial=0))
        here = torch.from_numpy(slots).to(self._device)
        used = torch.arange(width, device=self._device) < self._sizes[here, None]  # (R, W)
        rows, places = used.nonzero(as_tuple=True)
        of = here[rows]
        ids = self._ids[of, places]
        former = logits[rows, ids]
        repetition, presence, frequency = self._penalties.to(former.dtype)[of].unbind(1)
        seen, counts = self._seen[of, places], self._counts[of, places]
        values = former + self._bias[of, places].to(former.dtype)
        penalised = torch.where(values < 0, values * repetition, values / repetition)
        values = torch.where(seen, penalised, values)
        values = values - frequency * counts - presence * (counts > 0)
        forbidden = torch.from_numpy(positions).to(self._device)[rows] < self._until[of, places]
        logits[rows, ids] = values.masked_fill(forbidden, float("-inf"))
        return rows, ids, former

    def _widen(self, wanted: int) -> None:
        missing = wanted - self._ids.shape[1]
        if missing <= 0:
            return
        more = max(missing, self._ids.shape[1], 64)  # doubled, so that growing is rare

        def wider(column: Tensor) -> Tensor:
            return torch.cat((column, column.new_zeros(len(column), more)), dim=1)

        self._ids, self._bias, self._until = wider(self._ids), wider(self._bias), wider(self._until)
        self._seen, self._counts = wider(self._seen), wider(self._counts)
