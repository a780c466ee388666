"""Modules that hold one weight: norms, and linear maps behind a protocol that other forms fulfil too."""

from typing import Protocol

import torch
from torch import Tensor, nn

from gemcut.kernels.linear import linear
from gemcut.kernels.native_layer import Stored
from gemcut.kernels.norm import rms_norm
from gemcut.model.step import Step


class Projection(Protocol):
    """A linear map of rows; `step` tells forms that care which request a row belongs to."""

    def __call__(self, x: Tensor, step: Step) -> Tensor:
        """(N, in) -> (N, out)."""

    def stored(self) -> Stored | None:
        """The weight that says everything, as native code reads it; None where more than a weight does."""


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

    def stored(self) -> Stored | None:
        """The weight."""
        return Stored(self.weight.detach(), 16)


class RmsNorm(nn.Module):
    """A norm with its weight (C,)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Tensor, onto: Tensor | None = None, times: Tensor | None = None) -> Tensor:
        """(N, ..., C) -> (N, ..., C); added to `onto` (N, ..., C), and times `times` (1,), where given."""
        return rms_norm(x, self.weight, self.eps, onto, times)
