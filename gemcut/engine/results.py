"""What a step of the model gave, sequence by sequence."""

from collections.abc import Sequence
from itertools import accumulate
from typing import overload

import torch
from torch import Tensor


class Results(Sequence[Tensor]):
    """The rows of each sequence, (M, C); views that are made when they are asked for.

    rows: those of all sequences, one after another.  starts: of each sequence among them, and the end.
    """

    def __init__(self, rows: Tensor, counts: Sequence[int]) -> None:
        self.rows = rows
        self.starts = [0, *accumulate(counts)]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tensor]: ...
    def __getitem__(self, index: int | slice) -> Tensor | list[Tensor]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        return self.rows[self.starts[number] : self.starts[number + 1]]

    def take(self, places: Sequence[int]) -> Tensor:
        """Rows from these places among all, in rising order."""
        if len(places) == len(self.rows):
            return self.rows
        return self.rows[torch.tensor(places, device=self.rows.device)]

    def last(self, index: int, count: int) -> range:
        """Where the last rows of a sequence are among all."""
        end = self.starts[index + 1]
        return range(end - count, end)
