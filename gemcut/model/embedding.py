"""Token ids to the rows that the decoder takes, per-layer embeddings included.

Letters: N rows, C model width, L layers, P per-layer width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gemcut.config import TextConfig
from gemcut.kernels.linear import linear
from gemcut.kernels.norm import rms_norm


class EmbeddingTable(nn.Module):
    """Rows of a table (V, width) times a constant that is rounded to the rows' dtype.

    The table may lie elsewhere than the model and in another dtype: the per-layer table stays memory-mapped
    on the CPU.
    """

    def __init__(self, rows: int, width: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, width))
        self.scale = scale

    def forward(self, ids: Tensor, dtype: torch.dtype) -> Tensor:
        """(N,) int64 -> (N, width) in `dtype` on the ids' device."""
        rows = F.embedding(ids.to(self.weight.device), self.weight).to(ids.device, dtype)
        return scaled(rows, self.scale)

    def product(self, x: Tensor) -> Tensor:
        """Each row of x with each of the table: (M, width) -> (M, V)."""
        return linear(x, self.weight)


def scaled(rows: Tensor, scale: float) -> Tensor:
    """Rows times a constant that is rounded to their dtype; they are nobody else's, and change in place."""
    return rows.mul_(torch.tensor(scale, dtype=rows.dtype, device=rows.device))


def per_layer_inputs(projected: Tensor, rows: Tensor, norm: Tensor, config: TextConfig) -> Tensor:
    """What each layer gets of each token: its own embedding, and a projection of the main one.

    projected: (N, L·P) of the main embedding.  rows: (N, L·P) of the per-layer table, scaled.  norm: (P,).
    Returns (N, L, P).  What comes in is nobody else's: with a long prompt a copy of it takes megabytes.
    """
    shape = (-1, config.num_hidden_layers, config.hidden_size_per_layer_input)
    normed = rms_norm(projected.mul_(config.hidden_size**-0.5).view(shape), norm, config.rms_norm_eps)
    return normed.add_(rows.view(shape)).mul_(2**-0.5)
