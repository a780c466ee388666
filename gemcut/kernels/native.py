"""The native CPU kernels: the C++ files here, which setup.py builds for the kinds of CPU in processors.py.

Without a library for this CPU everything runs in plain PyTorch, slower.
"""

import ctypes
import functools
import os
import platform
import sys
from itertools import accumulate
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from gemcut.kernels.page_pool import PagePool
from gemcut.kernels.page_sight import FEW_ROWS, PageSight
from gemcut.kernels.processors import NoLibrary, cpu_flags, find_library

MOST_ROWS = 32  # of x in one call, as native.cpp has it; with more, widened slices are as quick
LANES = 16  # heads, and parts of rows with scales, are multiples of it in attention
MOST_PARTS = 3  # of a row with scales
ALONE = 2**15  # numbers up to which one thread makes them
BFLOAT16, FLOAT32 = torch.bfloat16, torch.float32
POINTER, INT, LONG, FLOAT = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_float
SIGNATURES = {
    "few_rows": (POINTER, POINTER, POINTER, INT, LONG, LONG, INT),
    "norm_rows": (POINTER, POINTER, POINTER, POINTER, POINTER, LONG, LONG, FLOAT, INT),
    "norm_rotate": (POINTER, POINTER, POINTER, POINTER, POINTER, LONG, LONG, LONG, FLOAT, INT),
    "gelu_times": (POINTER, POINTER, POINTER, LONG, INT),
    "before_attention": (*(POINTER,) * 7, LONG, INT),
    "after_attention": (*(POINTER,) * 5, LONG, INT),
    "mix_experts": (POINTER, POINTER, LONG, POINTER, LONG, POINTER, POINTER, LONG, POINTER, INT),
    "attend_pages": (POINTER, POINTER, POINTER, POINTER, INT, INT),
    "widen_blocks": (POINTER, POINTER, LONG, INT, INT),
    "block_product": (POINTER, POINTER, POINTER, LONG, LONG, LONG, INT, INT, INT),
}


class _Places(ctypes.Structure):
    """`Places` of attention.cpp."""

    _fields_ = [
        *((name, POINTER) for name in ("tables", "first", "starts", "lows", "highs")),
        *((name, LONG) for name in ("sequences", "table_pages", "page_tokens", "most_rows")),
    ]


class _Pool(ctypes.Structure):
    """`Pool` of attention.cpp."""

    _fields_ = [
        *((name, POINTER) for name in ("k", "v", "scales")),
        ("ends", LONG * MOST_PARTS),
        *((name, LONG) for name in ("parts", "slot", "head", "heads", "kv_heads", "width")),
    ]


def native_for_pages(q: Tensor, pool: PagePool) -> "Native | None":
    """The native kernels where they serve attention: on the CPU, no gradients, no float64."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or q.dtype not in (BFLOAT16, FLOAT32):
        return None
    if (
        q.device.type != "cpu"
        or pool.rows.device.type != "cpu"
        or pool.rows.dtype not in (q.dtype, torch.int8)
    ):
        return None
    ends = (pool.layout.width, *(() if pool.scales is None else accumulate(pool.layout.parts)))
    return None if any(end % LANES for end in ends) else native()


def native_for_blocks(blocks: Tensor, x: Tensor | None = None) -> "Native | None":
    """The native kernels where they serve blocks, and products of x with them: on the CPU, no gradients.

    x is bfloat16 or float32.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return None
    if blocks.device.type != "cpu" or not blocks.is_contiguous():
        return None
    if x is not None and (x.device.type != "cpu" or x.dtype not in (BFLOAT16, FLOAT32)):
        return None
    return native()


def native_for(x: Tensor, *others: Tensor) -> "Native | None":
    """The native kernels where they serve: all in bfloat16 on the CPU, no gradients.

    Not while torch compiles: its graphs cannot hold pointers.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return None
    if any(y.dtype != torch.bfloat16 or y.device.type != "cpu" for y in (x, *others)):
        return None
    return native()


@functools.cache
def native() -> "Native | None":
    """The native kernels, or None where they are missing, of which one line on stderr then tells."""
    try:
        return Native(_load(find_library(Path(__file__).parent, platform.machine(), cpu_flags())))
    except NoLibrary as missing:
        print(f"gemcut: slower, without the native CPU kernels: {missing}", file=sys.stderr)
        return None


class Native:
    """The functions of the C++ files on tensors: on the CPU, bfloat16 where nothing else is said.

    They would read beyond operands that are too small, hence the asserts.
    Letters: N rows, H query heads, K key/value heads, D head width, S keys.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        for name, types in SIGNATURES.items():
            getattr(library, name).argtypes = types
            getattr(library, name).restype = None
        self.library = library

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        """(N, in) x (out, in), contiguous, N at most MOST_ROWS -> (N, out); the weights are read once."""
        assert len(x) <= MOST_ROWS, x.shape
        assert x.shape[1:] == weight.shape[1:], (x.shape, weight.shape)
        assert weight.is_contiguous()
        x = x.contiguous()
        rows, inner, outer = len(x), weight.shape[1], len(weight)
        out = torch.empty(rows, outer, dtype=torch.bfloat16)
        pointers = x.data_ptr(), weight.data_ptr(), out.data_ptr()
        self.library.few_rows(*pointers, rows, inner, outer, torch.get_num_threads())
        return out

    def block_product(self, x: Tensor, blocks: Tensor, bits: Literal[4, 8]) -> Tensor:
        """(N, in) in bfloat16 or float32 x (out, B) of int4 or int8, contiguous -> (N, out) in x's dtype."""
        block_bytes = 2 + 4 * bits  # of 32 values and their scale
        assert x.dtype in (BFLOAT16, FLOAT32), x.dtype
        assert blocks.dtype == torch.uint8, blocks.dtype
        assert x.ndim == blocks.ndim == 2, (x.shape, blocks.shape)
        assert x.shape[1] * block_bytes == blocks.shape[1] * 32, (x.shape, blocks.shape, bits)
        assert blocks.is_contiguous()
        x = x.contiguous()
        out = torch.empty(len(x), len(blocks), dtype=x.dtype)
        pointers = x.data_ptr(), blocks.data_ptr(), out.data_ptr()
        sizes = len(x), blocks.shape[1] // block_bytes, len(blocks)
        wide, threads = int(x.dtype == FLOAT32), torch.get_num_threads()
        self.library.block_product(*pointers, *sizes, bits, wide, threads)
        return out

    def widen_blocks(self, blocks: Tensor, bits: Literal[4, 8]) -> Tensor:
        """(out, B) of int4 or int8, contiguous -> (out, in) in bfloat16."""
        assert blocks.dtype == torch.uint8, blocks.dtype
        assert blocks.ndim == 2, blocks.shape
        assert blocks.is_contiguous()
        of_row, rest = divmod(blocks.shape[1], 2 + 4 * bits)
        assert rest == 0, (blocks.shape, bits)
        count = len(blocks) * of_row
        out = torch.empty(len(blocks), of_row * 32, dtype=torch.bfloat16)
        threads = torch.get_num_threads()
        self.library.widen_blocks(blocks.data_ptr(), out.data_ptr(), count, bits, threads)
        return out

    def norm(
        self, x: Tensor, weight: Tensor | None, eps: float, onto: Tensor | None, times: Tensor | None
    ) -> Tensor:
        """(..., C) normed over C, times weight (C,), added to `onto` (..., C), times `times` (1,)."""
        x, width = x.contiguous(), x.shape[-1]
        assert weight is None or weight.shape == x.shape[-1:], (x.shape, weight.shape)
        assert onto is None or onto.shape == x.shape, (x.shape, onto.shape)
        assert times is None or times.shape == (1,), times.shape
        weight, onto = (None if y is None else y.contiguous() for y in (weight, onto))
        out = torch.empty_like(x)
        others = (None if tensor is None else tensor.data_ptr() for tensor in (weight, onto, times))
        sizes = x.numel() // width, width
        self.library.norm_rows(x.data_ptr(), *others, out.data_ptr(), *sizes, eps, _threads_for(x))
        return out

    def norm_rotate(self, x: Tensor, weight: Tensor, eps: float, cos: Tensor, sin: Tensor) -> Tensor:
        """(N, H, D) normed over D, times weight (D,), turned by cos and sin (N, 1, D)."""
        assert weight.shape == x.shape[2:], (x.shape, weight.shape)
        assert cos.shape == sin.shape == (len(x), 1, x.shape[2]), (x.shape, cos.shape, sin.shape)
        x, weight, cos, sin = (y.contiguous() for y in (x, weight, cos, sin))
        out = torch.empty_like(x)
        pointers = (tensor.data_ptr() for tensor in (x, weight, cos, sin, out))
        self.library.norm_rotate(*pointers, *x.shape, eps, _threads_for(x))
        return out

    def gelu_times(self, x: Tensor, times: Tensor) -> Tensor:
        """gelu(x) times `times`, number by number: two tensors of one shape."""
        assert x.shape == times.shape, (x.shape, times.shape)
        x, times = x.contiguous(), times.contiguous()
        out = torch.empty_like(x)
        self.library.gelu_times(x.data_ptr(), times.data_ptr(), out.data_ptr(), x.numel(), _threads_for(x))
        return out

    def attend_pages(self, q: Tensor, pool: PagePool, sight: PageSight, out: Tensor) -> None:
        """Fills `out` (N, H, D); q: (N, H, D).

        q and out lie as the pool's rows do, see `RowLayout`; bfloat16 or float32.
        """
        assert len(q) == len(sight.lows) == len(sight.highs) == int(sight.starts[-1]), q.shape
        assert len(sight.starts) == len(sight.first) + 1 == len(sight.tables) + 1, sight.tables.shape
        tables = (sight.tables, sight.first, sight.starts, sight.lows, sight.highs)
        assert all(x.dtype == torch.int32 and x.is_contiguous() and x.device == q.device for x in tables)
        numbers = len(sight.first), sight.tables.shape[1], sight.page_tokens, FEW_ROWS
        places = _Places(*(x.data_ptr() for x in tables), *numbers)
        self._attend(q, pool.keys, pool.values, pool, places, out)

    def attend_row(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """One row that sees every key: (1, H, D), (S, K, D) twice -> (1, H·D)."""
        assert len(q) == 1, q.shape
        out = torch.empty_like(q)
        zero, one, all_keys = (INT * 2)(0, 0), (INT * 2)(0, 1), (INT * 1)(len(k))
        tables = (ctypes.cast(x, POINTER).value for x in (zero, zero, one, zero, all_keys))
        self._attend(q, k, v, None, _Places(*tables, 1, 1, len(k), 1), out)
        return out.flatten(1)

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, pool: PagePool | None, places: _Places, out: Tensor
    ) -> None:
        """q, out: (N, H, D).  k, v: (S, K, D), with scales those of the pool."""
        _, heads, width = q.shape
        shapes = (q.shape, k.shape, v.shape)
        assert k.shape == v.shape == (len(k), k.shape[1], width), shapes
        assert k.stride() == v.stride(), (k.stride(), v.stride())
        assert k.stride(2) == 1, k.stride()
        assert (heads % k.shape[1], width % LANES) == (0, 0), shapes
        scales = None if pool is None else pool.scales
        ends = () if pool is None else tuple(accumulate(pool.layout.parts))
        operands = _Pool(
            *(x.data_ptr() for x in (k, v)),
            None if scales is None else scales.data_ptr(),
            (LONG * MOST_PARTS)(*ends),
            *(len(ends), k.stride(0), k.stride(1), heads, k.shape[1], width),
        )
        q = q.contiguous()
        structs = ctypes.byref(places), ctypes.byref(operands)
        wide, threads = int(q.dtype == FLOAT32), torch.get_num_threads()
        self.library.attend_pages(*structs, q.data_ptr(), out.data_ptr(), wide, threads)


def _load(library: Path) -> ctypes.CDLL:
    """Raises NoLibrary where it does not load: its compiler's OpenMP may not be the one torch has loaded."""
    try:
        return ctypes.CDLL(str(library), mode=os.RTLD_NOW)
    except OSError as error:
        raise NoLibrary(f"{error}; install gemcut again with CXX=g++") from None


def _threads_for(x: Tensor) -> int:
    """For work on each number of x: waking others takes longer than the little that few rows need."""
    return torch.get_num_threads() if x.numel() > ALONE else 1
