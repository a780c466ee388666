"""What the towers for images and sound share: clipped linear maps, and the way into the decoder.

Letters: N rows, D width of a tower, C model width.
"""

import torch
from torch import Tensor, nn

from gemcut.kernels.linear import linear
from gemcut.kernels.norm import rms_norm


class ClippedLinear(nn.Module):
    """A linear map whose inputs and outputs are clamped to ranges that were learnt with it.

    The ranges are part of the model: without them activations of large inputs come out otherwise.  Towers
    without ranges have the weight under the same name.
    """

    def __init__(self, in_width: int, out_width: int, clipped: bool) -> None:
        super().__init__()
        self.linear = Weight(out_width, in_width)
        self.clipped = clipped
        if clipped:
            self.input_min, self.input_max = nn.Parameter(torch.empty(())), nn.Parameter(torch.empty(()))
            self.output_min, self.output_max = nn.Parameter(torch.empty(())), nn.Parameter(torch.empty(()))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        if not self.clipped:
            return self._product(x)
        return self._product(x.clamp(self.input_min, self.input_max)).clamp(self.output_min, self.output_max)

    def _product(self, x: Tensor) -> Tensor:
        return linear(x.flatten(0, -2), self.linear.weight).view(*x.shape[:-1], -1)


class Weight(nn.Module):
    """A module that is nothing but a weight of this shape."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))


class MediaEmbedder(nn.Module):
    """Soft tokens of a tower to rows of the decoder: a norm without a weight, then a projection."""

    def __init__(self, in_width: int, out_width: int, eps: float) -> None:
        super().__init__()
        self.embedding_projection = Weight(out_width, in_width)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(N, D) -> (N, C)."""
        return linear(rms_norm(x, None, self.eps), self.embedding_projection.weight)
