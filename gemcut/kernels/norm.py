"""Norms of rows, alone and with what always follows them.

Forms: PyTorch's operations, which torch.compile fuses; native code for bfloat16 on a CPU, where ten small
operations cost more than what they compute.

Letters: N rows of a step, C width, H heads, D head width.
"""

import torch
from torch import Tensor

from gemcut.kernels.native import native_for


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """float64 for float64, else float32: the precision of norms, softmax and logits."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def rms_norm(
    x: Tensor, weight: Tensor | None, eps: float, onto: Tensor | None = None, times: Tensor | None = None
) -> Tensor:
    """X scaled to a root mean square of 1 over its last dimension, times `weight` (not 1 + weight).

    x: (N, ..., C).  weight: (C,) or None.  onto: (N, ..., C), what the result is added to.  times: (1,), what
    all of it is then multiplied with.
    Returns (N, ..., C) in x's dtype.
    """
    others = [other for other in (weight, onto, times) if other is not None]
    if (native := native_for(x, *others)) is not None:
        return native.norm(x, weight, eps, onto, times)
    wide = x.to(at_least_float32(x.dtype))  # (..., C), float32 or float64 from here
    y = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    y = (y if weight is None else y * weight.to(y.dtype)).to(x.dtype)  # back to x's dtype
    y = y if onto is None else onto + y
    return y if times is None else y * times


def norm_rotate(x: Tensor, weight: Tensor, eps: float, cos: Tensor, sin: Tensor) -> Tensor:
    """Heads normed, times `weight`, and turned by their position.

    x: (N, H, D).  weight: (D,).  cos, sin: (N, 1, D).  Returns (N, H, D).
    """
    if (native := native_for(x, weight, cos, sin)) is not None:
        return native.norm_rotate(x, weight, eps, cos, sin)
    return rotate(rms_norm(x, weight, eps), cos, sin)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """X turned by its position: dimension i pairs with i + D/2.  x: (N, H, D).  Returns (N, H, D)."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin
