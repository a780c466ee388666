"""Weights in blocks: 32 values of a row as small whole numbers and one float16 scale that they are times.

    int4   scale (2 bytes) · 16 bytes   byte i: value i in its low half, i + 16 in its high half, 8 added
    int8   scale (2 bytes) · 32 bytes   signed

These are Q4_0 and Q8_0 of GGUF, byte for byte, so such a file's weights are used where they lie.  A matrix
(out, in) is kept as uint8 (out, in / 32 · bytes of a block): a row of blocks is one stretch of memory.
Source: ggml-quants.c `quantize_row_q4_0_ref`, `quantize_row_q8_0_ref`; equal bytes in
tests/kernels/test_blocks.py.

Letters: N rows, B bytes of a row of blocks, V rows of a table.
"""

import torch
from torch import Tensor

from gemcut.config import BlockForm
from gemcut.kernels.block_layout import BLOCK_BYTES, SCALE_BYTES, VALUES, row_bytes
from gemcut.kernels.native import native_for_blocks
from gemcut.kernels.norm import at_least_float32

SLICE_VALUES = 2**21  # made wide at a time: 8 MiB in float32, which stays in the cache
LEAST_NORMAL = torch.finfo(torch.float32).tiny  # of smaller scales there is no reciprocal


def to_blocks(weight: Tensor, form: BlockForm) -> Tensor:
    """(..., in) of any float dtype -> (..., B) uint8, a slice of rows at a time."""
    rows = weight.reshape(-1, weight.shape[-1])  # (..., in) -> (R, in)
    blocks = torch.empty(len(rows), row_bytes(rows.shape[1], form), dtype=torch.uint8, device=weight.device)
    step = max(1, SLICE_VALUES // rows.shape[1])
    for start in range(0, len(rows), step):
        some = rows[start : start + step].float()
        some = some.view(len(some), -1, VALUES)  # (r, in) -> (r, in / 32, 32)
        made = _int4_blocks(some) if form == "int4" else _int8_blocks(some)
        blocks[start : start + step] = made.flatten(-2)
    return blocks.view(*weight.shape[:-1], -1)


def from_blocks(blocks: Tensor, form: BlockForm, dtype: torch.dtype) -> Tensor:
    """(..., B) uint8 -> (..., in): exact in float32 and float64, rounded once in narrower dtypes."""
    split = _split(blocks, form)
    scale = split[..., :SCALE_BYTES].contiguous().view(torch.float16).to(at_least_float32(dtype))
    numbers = split[..., SCALE_BYTES:]
    if form == "int4":
        numbers = torch.cat((numbers & 15, numbers >> 4), dim=-1).to(torch.int8) - 8  # (..., in / 32, 32)
    else:
        numbers = numbers.view(torch.int8)
    return (numbers.to(scale.dtype) * scale).flatten(-2).to(dtype)


def block_scales(blocks: Tensor, form: BlockForm) -> Tensor:
    """The scales, (..., in / 32) float16; one that is not finite says that its weights were not."""
    return _split(blocks, form)[..., :SCALE_BYTES].contiguous().view(torch.float16).squeeze(-1)


def block_rows(ids: Tensor, blocks: Tensor, form: BlockForm, dtype: torch.dtype) -> Tensor:
    """Rows of a table: (N,) int64 x (V, B) -> (N, in).  In bfloat16 on a CPU native code makes them."""
    rows = blocks.index_select(0, ids)
    if dtype == torch.bfloat16 and (native := native_for_blocks(rows)) is not None:
        return native.widen_blocks(rows, 4 if form == "int4" else 8)
    return from_blocks(rows, form, dtype)


def _split(blocks: Tensor, form: BlockForm) -> Tensor:
    """Rows of blocks block by block: (..., B) -> (..., in / 32, bytes of a block)."""
    return blocks.view(*blocks.shape[:-1], -1, BLOCK_BYTES[form])


def _int4_blocks(values: Tensor) -> Tensor:
    """(r, b, 32) float32 -> (r, b, 18): the value that is farthest from 0 becomes -8, sign and all."""
    farthest = values.gather(-1, values.abs().argmax(-1, keepdim=True))  # (r, b, 1): the first of equals
    scale = farthest / -8
    numbers = (values * _reciprocal(scale) + 8.5).trunc().clamp(0, 15).to(torch.uint8)
    low, high = numbers.chunk(2, dim=-1)  # (r, b, 16) twice
    return torch.cat((scale.half().view(torch.uint8), low | high << 4), dim=-1)


def _int8_blocks(values: Tensor) -> Tensor:
    """(r, b, 32) float32 -> (r, b, 34)."""
    scale = values.abs().amax(-1, keepdim=True) / 127
    exact = values * _reciprocal(scale)
    whole = exact.abs().floor()
    rounded = whole + (2 * (exact.abs() - whole)).floor()  # halves away from 0; torch rounds them to even
    numbers = (exact.sign() * rounded).to(torch.int8)
    return torch.cat((scale.half().view(torch.uint8), numbers.view(torch.uint8)), dim=-1)


def _reciprocal(scale: Tensor) -> Tensor:
    """1 / scale, 0 where the block holds nothing but zeros."""
    return torch.where(scale.abs() < LEAST_NORMAL, 0.0, 1 / scale)
