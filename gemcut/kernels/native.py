"""The native CPU kernels: native.cpp, built for this machine at first use and kept in the user's cache.

Without a C++ compiler everything runs in plain PyTorch, slower.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

MOST_ROWS = 4  # of x in one call
SLICE = 64  # attend_row wants heads of a multiple of it
FLAGS = ("-O3", "-march=native", "-fopenmp", "-fPIC", "-std=c++17", "-Wno-psabi")
POINTER, INT, LONG, FLOAT = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_float
SIGNATURES = {
    "few_rows": (POINTER, POINTER, POINTER, INT, LONG, LONG, INT),
    "norm_rows": (POINTER, POINTER, POINTER, POINTER, LONG, LONG, FLOAT),
    "norm_rotate": (POINTER, POINTER, POINTER, POINTER, POINTER, LONG, LONG, LONG, FLOAT),
    "attend_row": (POINTER, POINTER, POINTER, POINTER, LONG, LONG, LONG, LONG, INT),
}


def native_for(x: Tensor, *others: Tensor) -> "Native | None":
    """The native kernels where they serve: few rows x (N, ...), all in bfloat16 on the CPU, no gradients.

    Not while torch compiles: its graphs cannot hold pointers.
    """
    if len(x) > MOST_ROWS or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return None
    if any(y.dtype != torch.bfloat16 or y.device.type != "cpu" for y in (x, *others)):
        return None
    return native()


@functools.cache
def native() -> "Native | None":
    """The native kernels, or None without a compiler that can build them.

    The first call on a machine compiles for a few seconds.
    """
    library = _build(Path(__file__).with_name("native.cpp"))
    if library is None:
        return None
    try:
        return Native(ctypes.CDLL(str(library), mode=os.RTLD_NOW))
    except OSError:  # built by a compiler whose OpenMP is not the one that torch has loaded
        return None


class Native:
    """The functions of native.cpp on tensors: bfloat16, on the CPU.

    They would read beyond operands that are too small, hence the asserts.
    Letters: N rows, at most MOST_ROWS, H query heads, K key/value heads, D head width, S keys.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        for name, types in SIGNATURES.items():
            getattr(library, name).argtypes = types
            getattr(library, name).restype = None
        self.library = library

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        """(N, in) x (out, in), contiguous -> (N, out)."""
        assert x.shape[1:] == weight.shape[1:], (x.shape, weight.shape)
        assert weight.is_contiguous()
        x = x.contiguous()
        rows, inner, outer = len(x), weight.shape[1], len(weight)
        out = torch.empty(rows, outer, dtype=torch.bfloat16)
        pointers = x.data_ptr(), weight.data_ptr(), out.data_ptr()
        self.library.few_rows(*pointers, rows, inner, outer, torch.get_num_threads())
        return out

    def norm(self, x: Tensor, weight: Tensor | None, eps: float, onto: Tensor | None) -> Tensor:
        """(..., C) normed over C, times weight (C,), and added to `onto` (..., C)."""
        x, width = x.contiguous(), x.shape[-1]
        assert weight is None or weight.shape == x.shape[-1:], (x.shape, weight.shape)
        assert onto is None or onto.shape == x.shape, (x.shape, onto.shape)
        weight, onto = (None if y is None else y.contiguous() for y in (weight, onto))
        out = torch.empty_like(x)
        others = (None if tensor is None else tensor.data_ptr() for tensor in (weight, onto))
        self.library.norm_rows(x.data_ptr(), *others, out.data_ptr(), x.numel() // width, width, eps)
        return out

    def norm_rotate(self, x: Tensor, weight: Tensor, eps: float, cos: Tensor, sin: Tensor) -> Tensor:
        """(N, H, D) normed over D, times weight (D,), turned by cos and sin (N, 1, D)."""
        assert weight.shape == x.shape[2:], (x.shape, weight.shape)
        assert cos.shape == sin.shape == (len(x), 1, x.shape[2]), (x.shape, cos.shape, sin.shape)
        x, weight, cos, sin = (y.contiguous() for y in (x, weight, cos, sin))
        out = torch.empty_like(x)
        pointers = (tensor.data_ptr() for tensor in (x, weight, cos, sin, out))
        self.library.norm_rotate(*pointers, *x.shape, eps)
        return out

    def attend_row(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """One row that sees every key, D a multiple of SLICE: (1, H, D), (S, K, D) twice -> (1, H·D)."""
        _, heads, width = q.shape
        shapes = (q.shape, k.shape, v.shape)
        assert k.shape == v.shape == (len(k), k.shape[1], width), shapes
        assert (len(q), heads % k.shape[1], width % SLICE) == (1, 0, 0), shapes
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
        out = torch.empty(1, heads * width, dtype=torch.bfloat16)
        pointers = (tensor.data_ptr() for tensor in (q, k, v, out))
        self.library.attend_row(*pointers, len(k), heads, k.shape[1], width, torch.get_num_threads())
        return out


def _build(source: Path) -> Path | None:
    """The shared library of a C++ file, from the cache or built now; None where that cannot be.

    It is linked without OpenMP's runtime and so uses the one that torch has loaded: two would compete for
    the cores.
    """
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        return None
    key = hashlib.sha256(
        "\0".join((source.read_text(), *FLAGS, compiler, _processor())).encode()
    ).hexdigest()[:16]
    try:
        library = Path.home() / ".cache" / "gemcut" / f"{source.stem}-{key}.so"
        if library.exists():
            return library
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            made, whole = f"{folder}/kernel.o", f"{folder}/kernel.so"
            subprocess.run([compiler, *FLAGS, "-c", str(source), "-o", made], check=True, capture_output=True)
            subprocess.run([compiler, "-shared", made, "-o", whole], check=True, capture_output=True)
            Path(whole).replace(library)  # whole or not at all: another process may be building it too
    except (OSError, RuntimeError, subprocess.CalledProcessError):  # RuntimeError: this user has no home
        return None
    return library


def _processor() -> str:
    """What tells one kind of CPU from another, since the library fits only the kind it was built for."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()} {flags}"
