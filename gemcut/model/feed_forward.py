"""The dense feed-forward.  Letters: N rows, C model width, F feed-forward width."""

from torch import Tensor, nn

from gemcut.kernels.gate import gelu_times
from gemcut.model.projection import Linear, Projection
from gemcut.model.step import Step


class Mlp(nn.Module):
    """down(gelu(gate(x))·up(x)), gelu in its tanh form."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_proj: Projection = Linear(width, inner)
        self.up_proj: Projection = Linear(width, inner)
        self.down_proj: Projection = Linear(inner, width)

    def forward(self, x: Tensor, step: Step) -> Tensor:
        """(N, C) -> (N, C)."""
        gate, up = self.gate_proj(x, step), self.up_proj(x, step)  # (N, C) -> (N, F) twice
        return self.down_proj(gelu_times(gate, up), step)  # (N, F) -> (N, C)
