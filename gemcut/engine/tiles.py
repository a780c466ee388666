"""Steps cut into tiles of a fixed number of rows: each row gets the same numbers whatever runs beside it.

In bfloat16 and float32 a product of 16 rows is rounded otherwise than one of 3: which rows a step happens to
have shows in the last bits of its results.  Here every operation sees the same number of rows, each as a
sequence of its own, in every step.  An image whose rows see each other is a tile by itself, of its own size.

Letters: N rows of a step, R rows of a tile, B sequences.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from gemcut.config import TextConfig
from gemcut.engine.batch import Batch, whole_images
from gemcut.engine.pages import SCRATCH
from gemcut.engine.progress import Rows
from gemcut.kernels.page_sight import PageSight
from gemcut.model.paged_cache import PageWriter
from gemcut.model.step import Step

PART_TOKENS = 2048  # of a GPU's program: where sums are cut must not depend on how many rows there are


@dataclass(frozen=True)
class Tile:
    """Rows `start` to `end` - 1 of a step, as a step that may have more: the others are padding.

    wanted: those of them, (M,) int64, whose results are wanted.
    """

    start: int
    end: int
    step: Step
    wanted: Tensor


def tile_rows(text: TextConfig) -> int:
    """R: 16 share the reading of the weights, but where each row picks its experts it is alone."""
    return 1 if text.experts is not None else 16


def tiles(batch: Batch, planned: Sequence[Rows], rows: int) -> Iterator[Tile]:
    """The step's rows in tiles of so many, in order."""
    step = batch.step
    places = torch.arange(len(step.positions)) if step.outputs is None else step.outputs.cpu()
    for start, end, size in _cuts(len(step.positions), planned, rows):
        wanted = (places[(places >= start) & (places < end)] - start).to(step.positions.device)
        part = _part(step, start, end, size)
        # all results or none, so that the last layers have as many rows as the first
        yield Tile(start, end, part if len(wanted) else replace(part, outputs=wanted), wanted)


def _cuts(total: int, planned: Sequence[Rows], rows: int) -> Iterator[tuple[int, int, int]]:
    """Where the tiles begin and end, and how many rows each is padded to."""
    start = 0
    for begin, end in (*whole_images(planned), (total, total)):
        for first in range(start, begin, rows):
            yield first, min(begin, first + rows), rows
        if begin < end:
            yield begin, end, end - begin
        start = end


def _part(step: Step, start: int, end: int, size: int) -> Step:
    """Rows start to end - 1, padded to `size`."""
    missing = size - (end - start)
    rows = slice(start, end)
    sights = {}
    for kind, sight in step.sights.items():
        assert isinstance(sight, PageSight)
        sights[kind] = _sight(sight, rows, missing)
    assert isinstance(step.writer, PageWriter)
    slots = {kind: pad(of[rows], (0, missing), value=SCRATCH) for kind, of in step.writer.slots.items()}
    return Step(
        positions=pad(step.positions[rows], (0, missing)),
        sights=sights,
        writer=replace(step.writer, slots=slots),
        outputs=None,
    )


def _sight(sight: PageSight, rows: slice, missing: int) -> PageSight:
    """What these rows see, each as a sequence of its own; padding sees the scratch slot."""
    numbers = torch.arange(rows.start, rows.stop, dtype=sight.starts.dtype)
    sequences = (torch.searchsorted(sight.starts, numbers, right=True) - 1).to(sight.tables.device)
    size = len(numbers) + missing
    return replace(
        sight,
        tables=pad(sight.tables[sequences], (0, 0, 0, missing), value=SCRATCH),
        first=pad(sight.first[sequences], (0, missing)),
        lows=pad(sight.lows[rows], (0, missing)),
        highs=pad(sight.highs[rows], (0, missing), value=1),
        starts=torch.arange(size + 1, dtype=torch.int32),
        part_tokens=PART_TOKENS,
    )


def in_tiles(hidden: Tensor, rows: int) -> Iterator[Tensor]:
    """Hidden rows (M, C) as tiles (R, C), the last one padded with zeros."""
    for start in range(0, len(hidden), rows):
        part = hidden[start : start + rows]
        yield pad(part, (0, 0, 0, rows - len(part)))
