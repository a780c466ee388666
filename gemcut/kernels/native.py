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
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

MOST_ROWS = 4  # of x in one product
FLAGS = ("-O3", "-march=native", "-fopenmp", "-fPIC", "-std=c++17", "-Wno-psabi")

FewRows = Callable[[Tensor, Tensor], Tensor]


@functools.cache
def few_rows() -> FewRows | None:
    """A function (rows ≤ 4, in) x (out, in) -> (rows, out) for bfloat16 on the CPU, or None.

    None without a compiler that can build it.  The first call on a machine compiles for a few seconds.
    """
    library = _build(Path(__file__).with_name("native.cpp"))
    if library is None:
        return None
    try:
        kernel = ctypes.CDLL(str(library), mode=os.RTLD_NOW).few_rows
    except OSError:  # built by a compiler whose OpenMP is not the one that torch has loaded
        return None
    pointer, long = ctypes.c_void_p, ctypes.c_int64
    kernel.argtypes = [pointer, pointer, pointer, ctypes.c_int, long, long, ctypes.c_int]
    kernel.restype = None

    def product(x: Tensor, weight: Tensor) -> Tensor:
        x = x.contiguous()
        out = torch.empty(len(x), len(weight), dtype=torch.bfloat16)
        threads = torch.get_num_threads()
        kernel(x.data_ptr(), weight.data_ptr(), out.data_ptr(), len(x), weight.shape[1], len(weight), threads)
        return out

    return product


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
