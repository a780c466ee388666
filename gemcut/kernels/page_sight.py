"""Where the keys lie that the rows of a step see, in pages.

Letters: N rows of a step, B sequences, P pages of the longest table.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

FEW_ROWS = 8  # of a sequence, as many as decode has with the guesses behind a token


@dataclass(frozen=True)
class PageSight:
    """Which keys of a pool each row of a step sees in the layers of one kind.

    tables: (B, P) int32, the pages of each sequence, padded with 0.
    first: (B,) int32, the position of the first token in tables[b, 0].
    lows, highs: (N,) int32; a row sees the positions low to high - 1 of its sequence.  Neither falls from one
    row of a sequence to the next.
    starts: (B + 1,) int32 on the CPU: rows starts[b] to starts[b + 1] - 1 are those of sequence b.
    page_tokens: tokens of a page.
    window: the most positions that a row sees up to its own; None for no limit.
    part_tokens: positions that one program of a GPU takes, a multiple of 32; None for as many as keep the GPU
    busy, which depends on how many rows there are, and with it the rounding of sums.
    """

    tables: Tensor
    first: Tensor
    lows: Tensor
    highs: Tensor
    starts: Tensor
    page_tokens: int
    window: int | None
    part_tokens: int | None = None

    def take(self, rows: Tensor, total: int) -> "PageSight":
        """What `rows` (M,) of the `total` rows see, in order; sequences without any of them fall away."""
        assert total == len(self.lows), (total, self.lows.shape)
        places = torch.searchsorted(rows.cpu(), self.starts.long())  # (B + 1,) where each sequence begins now
        kept = places[1:] > places[:-1]
        there = kept.to(self.tables.device)
        return replace(
            self,
            tables=self.tables[there],
            first=self.first[there],
            lows=self.lows[rows],
            highs=self.highs[rows],
            starts=torch.cat((places[:-1][kept], places[-1:])).int(),
        )

    @cached_property
    def sequences(self) -> tuple["SequenceSight", ...]:
        """Each sequence by itself; made once a step, for all layers."""
        starts = self.starts.tolist()
        return tuple(SequenceSight(self, b, *starts[b : b + 2]) for b in range(len(starts) - 1))

    @cached_property
    def short(self) -> tuple[Tensor, Tensor]:
        """The rows (M,) of sequences with up to FEW_ROWS of them, and the sequence of each, (M,); int32."""
        counts = self.starts.diff()
        sequences = torch.repeat_interleave(torch.arange(len(counts), dtype=torch.int32), counts)
        rows = (counts <= FEW_ROWS)[sequences].nonzero()[:, 0]
        device = self.tables.device
        return rows.int().to(device), sequences[rows].to(device)

    @cached_property
    def most_rows(self) -> int:
        """Rows of the sequence that has most."""
        return int(self.starts.diff().max()) if len(self.starts) > 1 else 0


@dataclass(frozen=True)
class SequenceSight:
    """What the rows start to end - 1 of a step see, those of sequence number `index`."""

    step: PageSight
    index: int
    start: int
    end: int

    @cached_property
    def lows(self) -> list[int]:
        """The first position that each row sees."""
        found: list[int] = self.step.lows[self.start : self.end].tolist()
        return found

    @cached_property
    def highs(self) -> list[int]:
        """Where each row's sight ends."""
        found: list[int] = self.step.highs[self.start : self.end].tolist()
        return found

    @cached_property
    def slots(self) -> Tensor:
        """Slots (S,) int64 of the positions that its rows see, lows[0] to highs[-1] - 1."""
        size, device = self.step.page_tokens, self.step.tables.device
        first = int(self.step.first[self.index])
        places = torch.arange(self.lows[0] - first, self.highs[-1] - first, device=device)
        pages = self.step.tables[self.index].long()[places // size]
        return pages * size + places % size
