"""The pure functions of the decoder.

Letters: N rows of a step, C model width, H heads, D head width, V vocabulary.
Source: Gemma 4 as in transformers 5.23 `models/gemma4/modeling_gemma4.py`; parity in tests/parity.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from gemcut.config import Rope
from gemcut.kernels.gate import writes_out_tanh


def inverse_frequencies(rope: Rope, head_dim: int, device: torch.device) -> Tensor:
    """Radians a position for each pair of dimensions, (D/2,) float32; 0 for the pairs that are not rotated.

    The exponent is divided by the whole head width even where only a part of it is rotated ("proportional").
    """
    rotated_pairs = int(rope.rotated * head_dim // 2)
    exponents = torch.arange(0, 2 * rotated_pairs, 2, dtype=torch.float32, device=device) / head_dim
    return F.pad(1.0 / rope.theta**exponents, (0, head_dim // 2 - rotated_pairs))


def cos_sin(positions: Tensor, inverse: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every row's angles, each (N, 1, D) in `dtype`, computed in float32."""
    angles = positions[:, None].float() * inverse  # (N,) x (D/2,) -> (N, D/2)
    angles = torch.cat((angles, angles), dim=-1)[:, None]  # (N, 1, D): the same for every head
    return angles.cos().to(dtype), angles.sin().to(dtype)


def soft_cap(x: Tensor, cap: float) -> Tensor:
    """X squashed smoothly into (-cap, cap)."""
    if writes_out_tanh(x):
        return cap * (2 * torch.sigmoid(2 * x / cap) - 1)
    return cap * torch.tanh(x / cap)
