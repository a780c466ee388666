"""The product of rows with weights in blocks.

Forms: float32 products of widened weights, the plain one; on a CPU native code, which reads the blocks where
they lie and multiplies whole numbers; for prompts on a CPU with AMX, bfloat16 products of widened weights,
which torch makes in its tiles.
"""

import functools
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gemcut.config import BlockForm
from gemcut.kernels.blocks import SLICE_VALUES, from_blocks
from gemcut.kernels.linear import multiplies_bfloat16
from gemcut.kernels.native import Native, native_for_blocks
from gemcut.kernels.norm import at_least_float32
from gemcut.kernels.processors import cpu_flags

TILED_ROWS = 64  # from which on the products gain more than widening the weights costs


def block_linear(x: Tensor, blocks: Tensor, form: BlockForm) -> Tensor:
    """x·weightᵀ: (N, in) x (out, B) -> (N, out) in x's dtype.

    Native code rounds each row of x to int8, 32 values with a scale at a time.  On normally distributed
    values that costs 0.55 % of the result (root mean squares; tests/kernels/test_block_linear.py), three
    times what rounding x to bfloat16 does, and a fifteenth of what rounding its weights to int4 did.  A row's
    result does not depend on the rows beside it, but that TILED_ROWS of them go through AMX, where there is
    any.  Where one of 32 values is not finite, the whole row becomes NaN.
    """
    if (native := native_for_blocks(blocks, x)) is None:
        return widened(x, blocks, form)
    bits: Literal[4, 8] = 4 if form == "int4" else 8
    if len(x) >= TILED_ROWS and x.dtype == torch.bfloat16 and has_tiles():
        return _in_tiles(native, x, blocks, bits)
    return native.block_product(x, blocks, bits)


def widened(x: Tensor, blocks: Tensor, form: BlockForm) -> Tensor:
    """x·weightᵀ in float32 at least, of the exact values, a slice of weights at a time."""
    wide = x.to(at_least_float32(x.dtype))
    out = torch.empty(len(x), len(blocks), dtype=x.dtype, device=x.device)
    step = max(1, SLICE_VALUES // x.shape[1])
    for start in range(0, len(blocks), step):
        weight = from_blocks(blocks[start : start + step], form, wide.dtype)
        out[:, start : start + step] = F.linear(wide, weight)
    return out


@functools.cache
def has_tiles() -> bool:
    """Whether this CPU has AMX, which multiplies bfloat16 faster than vectors whole numbers."""
    return "amx_bf16" in cpu_flags() and multiplies_bfloat16()


def _in_tiles(native: Native, x: Tensor, blocks: Tensor, bits: Literal[4, 8]) -> Tensor:
    """x·weightᵀ of weights rounded to bfloat16, a slice of them at a time."""
    out = torch.empty(len(x), len(blocks), dtype=x.dtype)
    step = max(1, SLICE_VALUES // x.shape[1])
    for start in range(0, len(blocks), step):
        weight = native.widen_blocks(blocks[start : start + step], bits)
        out[:, start : start + step] = F.linear(x, weight)
    return out
