"""The rows of a step as tensors: what the scheduler planned, for the model.

Letters: N rows of the step, B sequences, P pages of the longest table.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gemcut.config import AttentionKind
from gemcut.engine.page_tables import KINDS, NUMBERS, PageTables
from gemcut.engine.pages import SCRATCH, PageLayout
from gemcut.engine.progress import Progress, Rows
from gemcut.kernels.page_sight import PageSight
from gemcut.model.paged_cache import PagedCache, PageWriter
from gemcut.model.step import Step

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


class BatchBuilder:
    """Makes the tensors of each step; it remembers page tables, of which little changes from step to step."""

    def __init__(self, layout: PageLayout, cache: PagedCache, device: torch.device) -> None:
        self._layout = layout
        self._cache = cache
        self._device = device
        self._tables = PageTables()
        self._windows = np.array([[layout.most_tokens], [layout.window]])  # of KINDS: what a row sees at most

    def build(self, planned: Sequence[Rows]) -> Batch:
        """The planned rows, in their order."""
        counts = [len(rows.ids) for rows in planned]
        starts = np.array([0, *accumulate(counts)], dtype=np.int32)  # where each sequence's rows begin
        sequence = np.arange(len(planned)).repeat(counts)  # (N,) each row's
        offsets = np.array([rows.start for rows in planned], dtype=np.int64) - starts[:-1]
        position = np.arange(len(sequence)) + offsets[sequence]
        lines = self._tables.lines([rows.progress for rows in planned])
        highs = (position + 1).astype(np.int32)
        slots = self._slots(lines[sequence], position)
        num_outputs = tuple([rows.num_outputs for rows in planned])
        step = Step(
            positions=self._tensor(position),
            sights=self._sights(lines, starts, position, (highs, _to_ends_of_images(planned, highs))),
            writer=PageWriter(self._cache, {kind: self._tensor(slots[i]) for i, kind in enumerate(KINDS)}),
            outputs=self._outputs(starts, sequence, num_outputs),
        )
        ids = np.array([token for rows in planned for token in rows.ids], dtype=np.int64)
        return Batch(self._tensor(ids), step, num_outputs)

    def build_drafting(self, sequences: list[Progress]) -> Step:
        """A row for each running sequence where its last token stands, for a drafter, which only reads.

        It sees the keys before that token, within the window; the token's own are made with the next step.
        """
        position = np.array([progress.computed for progress in sequences], dtype=np.int64)
        starts = np.arange(len(sequences) + 1, dtype=np.int32)
        highs = position.astype(np.int32)
        sights = self._sights(self._tables.lines(sequences), starts, position, (highs, highs))
        return Step(positions=self._tensor(position), sights=sights, writer=None, outputs=None)

    def _slots(self, line: Numbers, position: Numbers) -> Numbers:
        """Where the keys and values of rows on these lines go, (2, N) for KINDS."""
        tables, size = self._tables, self._layout.page_tokens
        page, within = np.divmod(position, size)
        slots = tables.pages[NUMBERS, line, page - tables.first.take(line, axis=1)] * np.int64(size) + within
        slots[0, page < tables.num_found[line]] = SCRATCH  # what was found there is not written again
        return slots

    def _sights(
        self, lines: Numbers, starts: Small, position: Numbers, highs: tuple[Small, Small]
    ) -> dict[AttentionKind, PageSight]:
        """What rows see of the sequences on these lines: what is below `highs`, (N,) for KINDS."""
        tables, layout = self._tables, self._layout
        num_pages = tables.count.take(lines, axis=1).max(axis=1, initial=0)
        first = (tables.first.take(lines, axis=1) * layout.page_tokens).astype(np.int32)  # (2, B)
        lows = np.maximum(position + 1 - self._windows, 0).astype(np.int32)  # (2, N)
        bounds = torch.from_numpy(starts)
        return {
            kind: PageSight(
                tables=self._tensor(tables.pages[i][lines, : num_pages[i]]),
                first=self._tensor(first[i]),
                lows=self._tensor(lows[i]),
                highs=self._tensor(highs[i]),
                starts=bounds,
                page_tokens=layout.page_tokens,
                window=layout.window if kind == "sliding_attention" else None,
            )
            for i, kind in enumerate(KINDS)
        }

    def _outputs(self, starts: Small, sequence: Numbers, num_outputs: Sequence[int]) -> Tensor | None:
        """The rows whose result is wanted, the last ones of each sequence; None for all."""
        if sum(num_outputs) == len(sequence):
            return None
        wanted = np.arange(len(sequence)) >= (starts[1:] - num_outputs)[sequence]
        return self._tensor(wanted.nonzero()[0])

    def _tensor(self, numbers: NDArray[np.generic]) -> Tensor:
        tensor = torch.from_numpy(numbers)
        return tensor if self._device.type == "cpu" else tensor.to(self._device, non_blocking=True)


def _to_ends_of_images(planned: Sequence[Rows], highs: Small) -> Small:
    """Where what the rows see in sliding layers ends: for those of an image with the image."""
    if len(highs) == len(planned):  # a row alone is no image
        return highs
    highs = highs.copy()
    for begin, end in whole_images(planned):
        highs[begin:end] = highs[end - 1]
    return highs


def whole_images(planned: Sequence[Rows]) -> Iterator[tuple[int, int]]:
    """Rows begin to end - 1 of the step for each image whose rows see each other both ways."""
    first = 0
    for rows in planned:
        for span in rows.progress.request.media:
            if span.whole and rows.start <= span.start < rows.start + len(rows.ids):
                yield first + span.start - rows.start, first + span.end - rows.start
        first += len(rows.ids)
