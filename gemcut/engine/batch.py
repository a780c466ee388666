"""The rows of a step as tensors: what the scheduler planned, for the model.

Letters: N rows of the step, B sequences, P pages of the longest table.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gemcut.config import AttentionKind
from gemcut.engine.page_tables import PageTables
from gemcut.engine.pages import SCRATCH, PageLayout
from gemcut.engine.progress import Rows
from gemcut.kernels.page_sight import PageSight
from gemcut.model.paged_cache import PagedCache, PageWriter
from gemcut.model.step import Step

KINDS: tuple[AttentionKind, ...] = ("full_attention", "sliding_attention")
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """A step for the model.

    ids: (N,) int64.  step: its outputs are the rows whose logits are wanted, sequence by sequence.
    num_outputs: how many each sequence has.
    """

    ids: Tensor
    step: Step
    num_outputs: tuple[int, ...]


@dataclass(frozen=True)
class _Places:
    """Where the rows stand.

    sequence: (N,) number of each row's sequence among those planned.  position: (N,) of each row in it.
    starts: (B + 1,) bounds of the sequences' rows.
    """

    sequence: Numbers
    position: Numbers
    starts: Numbers


class BatchBuilder:
    """Makes the tensors of each step; it remembers page tables, of which little changes from step to step."""

    def __init__(self, layout: PageLayout, cache: PagedCache, device: torch.device) -> None:
        self._layout = layout
        self._cache = cache
        self._device = device
        self._tables = {kind: PageTables() for kind in KINDS}

    def build(self, planned: Sequence[Rows]) -> Batch:
        """The planned rows, in their order."""
        places = _places(planned)
        kinds = {kind: self._kind(kind, planned, places) for kind in KINDS}
        num_outputs = tuple([rows.num_outputs for rows in planned])
        step = Step(
            positions=self._tensor(places.position),
            sights={kind: sight for kind, (sight, _) in kinds.items()},
            writer=PageWriter(self._cache, {kind: slots for kind, (_, slots) in kinds.items()}),
            outputs=self._outputs(places, num_outputs),
        )
        ids = np.array([token for rows in planned for token in rows.ids], dtype=np.int64)
        return Batch(self._tensor(ids), step, num_outputs)

    def _kind(
        self, kind: AttentionKind, planned: Sequence[Rows], places: _Places
    ) -> tuple[PageSight, Tensor]:
        """What the rows see in one kind of layer, and the slots (N,) where their own keys and values go."""
        size, tables, rows_of = self._layout.page_tokens, self._tables[kind], places.sequence
        here = [rows.kinds[kind] for rows in planned]
        lines = tables.lines([rows.progress for rows in planned], here)
        first = np.array([place.first_page * size for place in here])
        known = np.array([place.known for place in here])
        page = tables.pages[lines[rows_of], (places.position - first[rows_of]) // size].astype(np.int64)
        slots = page * size + places.position % size
        slots[places.position < known[rows_of]] = SCRATCH
        window = self._layout.window if kind == "sliding_attention" else None
        lows, highs = _seen(planned, places, window)
        sight = PageSight(
            tables=self._tensor(tables.pages[lines, : max(len(place.pages) for place in here)]),
            first=self._tensor(first.astype(np.int32)),
            lows=self._tensor(lows.astype(np.int32)),
            highs=self._tensor(highs.astype(np.int32)),
            starts=torch.from_numpy(places.starts.astype(np.int32)),
            page_tokens=size,
            window=window,
        )
        return sight, self._tensor(slots)

    def _outputs(self, places: _Places, num_outputs: Sequence[int]) -> Tensor | None:
        """The rows whose result is wanted, the last ones of each sequence; None for all."""
        ends = places.starts[1:]
        wanted = np.arange(len(places.position)) >= (ends - num_outputs)[places.sequence]
        return None if wanted.all() else self._tensor(wanted.nonzero()[0])

    def _tensor(self, numbers: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(numbers).to(self._device, non_blocking=True)


def _places(planned: Sequence[Rows]) -> _Places:
    starts = np.zeros(len(planned) + 1, dtype=np.int64)
    np.cumsum([len(rows.ids) for rows in planned], out=starts[1:])
    sequence = np.repeat(np.arange(len(planned)), np.diff(starts))
    offsets = np.array([rows.start for rows in planned]) - starts[:-1]
    return _Places(sequence, np.arange(starts[-1]) + offsets[sequence], starts)


def _seen(planned: Sequence[Rows], places: _Places, window: int | None) -> tuple[Numbers, Numbers]:
    """The positions low to high - 1 that each row sees: up to its own, or to the end of its image."""
    highs = places.position + 1
    if window is None:
        return np.zeros_like(highs), highs
    for number, rows in enumerate(planned):
        if len(rows.ids) == 1 or not rows.progress.request.media:
            continue
        first = int(places.starts[number]) - rows.start  # the row of position 0, were it here
        for span in rows.progress.request.media:
            if span.whole and rows.start <= span.start < rows.start + len(rows.ids):
                highs[first + span.start : first + span.end] = span.end
    return np.maximum(places.position - window + 1, 0), highs
