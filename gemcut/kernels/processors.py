"""The kinds of CPU that the native kernels are built for, and the library that is right for a CPU.

setup.py reads this file too, before anything is installed: it imports the standard library only.
"""

import hashlib
import platform
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
OPTIONS = ("-O3", "-fopenmp", "-fPIC", "-std=c++17", "-Wno-psabi")  # of the compiler, for every kind


@dataclass(frozen=True, kw_only=True)
class CpuKind:
    """The CPUs that one library is for.

    machines: their architecture, as `platform.machine()` says it.
    needs: what they have, as /proc/cpuinfo says it, and the compiler's option for that.
    """

    name: str
    machines: tuple[str, ...]
    needs: Mapping[str, str]


X86, ARM = ("x86_64",), ("aarch64", "arm64")
AVX2 = {"avx2": "-mavx2", "fma": "-mfma", "f16c": "-mf16c", "bmi2": "-mbmi2"}
AVX512_VNNI = {
    **AVX2,
    "avx512f": "-mavx512f",
    "avx512bw": "-mavx512bw",
    "avx512dq": "-mavx512dq",
    "avx512vl": "-mavx512vl",
    "avx512_vnni": "-mavx512vnni",
}
KINDS = (  # the best first
    CpuKind(name="avx512vnni", machines=X86, needs=AVX512_VNNI),
    CpuKind(name="avxvnni", machines=X86, needs={**AVX2, "avx_vnni": "-mavxvnni"}),
    CpuKind(name="avx2", machines=X86, needs=AVX2),
    CpuKind(name="dotprod", machines=ARM, needs={"asimddp": "-march=armv8.2-a+dotprod"}),
)


class NoLibrary(Exception):
    """There is no library for this CPU; the message says why, and what to do."""


def parse_cpu_flags(text: str) -> frozenset[str]:
    """What the first core has, from the text of /proc/cpuinfo."""
    pairs = (line.partition(":") for line in text.splitlines())
    flags = (value for key, _, value in pairs if key.strip() in ("flags", "Features"))
    return frozenset(next(flags, "").split())


def cpu_flags() -> frozenset[str]:
    """What this CPU has, as /proc/cpuinfo says it; every Mac with an Arm CPU has dot products."""
    if CPU_INFO.exists():
        return parse_cpu_flags(CPU_INFO.read_text())
    return frozenset({"asimddp"} if (platform.system(), platform.machine()) == ("Darwin", "arm64") else ())


def kinds_of(machine: str, flags: Set[str]) -> tuple[CpuKind, ...]:
    """The kinds that a CPU is, the best first."""
    return tuple(kind for kind in KINDS if machine in kind.machines and flags >= kind.needs.keys())


def library_name(sources: Path, kind: CpuKind) -> str:
    """The file name of a kind's library; another one as soon as a source or an option changes."""
    texts = [path.read_bytes() for ending in ("*.cpp", "*.h") for path in sorted(sources.glob(ending))]
    options = [option.encode() for option in (*OPTIONS, *kind.needs.values())]
    digest = hashlib.sha256(b"\0".join((*texts, *options))).hexdigest()
    return f"{kind.name}-{digest[:16]}.so"


def find_library(folder: Path, machine: str, flags: Set[str]) -> Path:
    """The library beside the sources in a folder that is for the best kind that a CPU is.

    Raises NoLibrary.
    """
    kinds = kinds_of(machine, flags)
    if not kinds:
        raise NoLibrary("they need AVX2 and FMA, or Arm's dot products, and this CPU has neither")
    for kind in kinds:
        library = folder / library_name(folder, kind)
        if library.exists():
            return library
    if any(any(folder.glob(f"{kind.name}-*.so")) for kind in kinds):
        raise NoLibrary("their sources have changed; install gemcut again (pip install -e .)")
    raise NoLibrary("they are not built; install a C++ compiler (g++), and then gemcut again")
