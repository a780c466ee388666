"""What a step of the model gave, sequence by sequence."""

from collections.abc import Sequence
from itertools import accumulate
from typing import overload

import torch
from torch import Tensor


class Results(Sequence[Tensor]):
    """The rows of each sequence, (M, C); views that are made when they are asked for.

    rows: those of all sequences, one after another.  ends: of each sequence among them.
    """

    def __init__(self, rows: Tensor, counts: Sequence[int]) -> None:
        self.rows = rows
        self.ends = list(accumulate(counts))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tensor]: ...
    def __getitem__(self, index: int | slice) -> Tensor | list[Tensor]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        return self.rows[self.ends[number - 1] if number else 0 : self.ends[number]]

    def take(self, places: Sequence[int]) -> Tensor:
        """Rows from these places among all, in rising order."""
        if len(places) == len(self.rows):
            return self.rows
        return self.rows[torch.tensor(places, device=self.rows.device)]
