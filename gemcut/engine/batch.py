"""The rows of a step as tensors: what the scheduler planned, for the model.

Letters: N rows of the step, B sequences, P pages of the longest table.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gemcut.config import AttentionKind
from gemcut.engine.page_tables import PageTables
from gemcut.engine.pages import SCRATCH, PageLayout
from gemcut.engine.progress import Progress, Rows
from gemcut.kernels.page_sight import PageSight
from gemcut.model.paged_cache import PagedCache, PageWriter
from gemcut.model.step import Step

KINDS: tuple[AttentionKind, ...] = ("full_attention", "sliding_attention")
Numbers: TypeAlias = NDArray[np.int64]
Small: TypeAlias = NDArray[np.int32]


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

    lines: (B,) of the sequences in the page tables.  starts: (B + 1,) bounds of the sequences' rows.
    sequence: (N,) number of each row's sequence among those planned.  line: (N,) of that sequence.
    position: (N,) of each row in it.
    page, within: (N,) which page of the sequence it is in, and the place in the page.
    """

    lines: Numbers
    starts: Small
    sequence: Numbers
    line: Numbers
    position: Numbers
    page: Numbers
    within: Numbers


class BatchBuilder:
    """Makes the tensors of each step; it remembers page tables, of which little changes from step to step."""

    def __init__(self, layout: PageLayout, cache: PagedCache, device: torch.device) -> None:
        self._layout = layout
        self._cache = cache
        self._device = device
        self._tables = PageTables()

    def build(self, planned: Sequence[Rows]) -> Batch:
        """The planned rows, in their order."""
        places = self._places(planned)
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
        tables, size = self._tables.kinds[kind], self._layout.page_tokens
        line = places.line
        slots = tables.pages[line, places.page - tables.first[line]] * np.int64(size) + places.within
        if kind == "full_attention":  # what was found there is not written again
            slots[places.page < self._tables.num_found[line]] = SCRATCH
        window = self._layout.window if kind == "sliding_attention" else None
        seen = _seen(planned, places.position, window)
        return self._sight(kind, places.lines, seen, places.starts), self._tensor(slots)

    def _sight(
        self, kind: AttentionKind, lines: Numbers, seen: tuple[Small, Small], starts: Small
    ) -> PageSight:
        """What rows see of the sequences on these lines: positions `seen[0]` to `seen[1]` - 1, (N,) each."""
        size, tables = self._layout.page_tokens, self._tables.kinds[kind]
        num_pages = tables.count[lines].max(initial=0)
        return PageSight(
            tables=self._tensor(tables.pages[lines, :num_pages]),
            first=self._tensor((tables.first[lines] * size).astype(np.int32)),
            lows=self._tensor(seen[0]),
            highs=self._tensor(seen[1]),
            starts=torch.from_numpy(starts),
            page_tokens=size,
            window=self._layout.window if kind == "sliding_attention" else None,
        )

    def build_drafting(self, sequences: list[Progress]) -> Step:
        """A row for each running sequence where its last token stands, for a drafter, which only reads.

        It sees the keys before that token, within the window; the token's own are made with the next step.
        """
        positions = np.array([progress.computed for progress in sequences], dtype=np.int64)
        lines = self._tables.lines(sequences)
        sights = {kind: self._drafting_sight(kind, lines, positions) for kind in KINDS}
        return Step(positions=self._tensor(positions), sights=sights, writer=None, outputs=None)

    def _drafting_sight(self, kind: AttentionKind, lines: Numbers, positions: Numbers) -> PageSight:
        window = self._layout.window if kind == "sliding_attention" else None
        highs = positions.astype(np.int32)
        lows = np.zeros_like(highs) if window is None else np.maximum(highs - window + 1, 0)
        return self._sight(kind, lines, (lows, highs), np.arange(len(lines) + 1, dtype=np.int32))

    def _places(self, planned: Sequence[Rows]) -> _Places:
        counts = np.array([len(rows.ids) for rows in planned], dtype=np.int64)
        starts = np.zeros(len(planned) + 1, dtype=np.int32)
        starts[1:] = counts.cumsum()
        sequence = np.arange(len(planned)).repeat(counts)
        offsets = np.array([rows.start for rows in planned], dtype=np.int64) - starts[:-1]
        position = np.arange(starts[-1]) + offsets[sequence]
        page, within = np.divmod(position, self._layout.page_tokens)
        lines = self._tables.lines([rows.progress for rows in planned])
        return _Places(lines, starts, sequence, lines[sequence], position, page, within)

    def _outputs(self, places: _Places, num_outputs: Sequence[int]) -> Tensor | None:
        """The rows whose result is wanted, the last ones of each sequence; None for all."""
        if sum(num_outputs) == len(places.position):
            return None
        ends = places.starts[1:]
        wanted = np.arange(len(places.position)) >= (ends - num_outputs)[places.sequence]
        return self._tensor(wanted.nonzero()[0])

    def _tensor(self, numbers: NDArray[np.generic]) -> Tensor:
        tensor = torch.from_numpy(numbers)
        return tensor if self._device.type == "cpu" else tensor.to(self._device, non_blocking=True)


def _seen(planned: Sequence[Rows], position: Numbers, window: int | None) -> tuple[Small, Small]:
    """The positions low to high - 1 that each row sees: up to its own, or to the end of its image."""
    highs = (position + 1).astype(np.int32)
    if window is None:
        return np.zeros(len(highs), dtype=np.int32), highs
    lows = np.maximum(highs - window, 0)
    for begin, end in whole_images(planned) if len(highs) > len(planned) else ():  # a row alone is no image
        highs[begin:end] = highs[end - 1]
    return lows, highs


def whole_images(planned: Sequence[Rows]) -> Iterator[tuple[int, int]]:
    """Rows begin to end - 1 of the step for each image whose rows see each other both ways."""
    first = 0
    for rows in planned:
        for span in rows.progress.request.media:
            if span.whole and rows.start <= span.start < rows.start + len(rows.ids):
                yield first + span.start - rows.start, first + span.end - rows.start
        first += len(rows.ids)
