"""Modules that hold one weight: norms, and linear maps behind a protocol that other forms fulfil too."""

from typing import Protocol

import torch
from torch import Tensor, nn

from gemcut.kernels.linear import linear
from gemcut.kernels.norm import rms_norm
from gemcut.model.step import Step


class Projection(Protocol):
    """A linear map of rows; `step` tells forms that care which request a row belongs to."""

    def __call__(self, x: Tensor, step: Step) -> Tensor:
        """(N, in) -> (N, out)."""


class Linear(nn.Module):
    """The plain form: one weight (out, in), no bias."""

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_width, in_width))

    def forward(self, x: Tensor, step: Step) -> Tensor:
        """(N, in) -> (N, out)."""
        return self.product(x)

    def product(self, x: Tensor) -> Tensor:
        """The same where there is no step: (N, in) -> (N, out)."""
        return linear(x, self.weight)


class RmsNorm(nn.Module):
    """A norm with its weight (C,)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """(N, ..., C) -> (N, ..., C); where `onto` (N, ..., C) is given, added to that."""
        return rms_norm(x, self.weight, self.eps, onto)
