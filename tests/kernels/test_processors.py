"""Which library is for which CPU, and when it is taken."""

import platform
from collections.abc import Callable
from pathlib import Path

import pytest

from gemcut.kernels import processors
from gemcut.kernels.processors import (
    KINDS,
    CpuKind,
    NoLibrary,
    cpu_flags,
    find_library,
    kinds_of,
    library_name,
    parse_cpu_flags,
)

SSE2 = "fpu tsc msr cx8 cmov mmx fxsr sse sse2 lm nx"
ZEN3 = f"{SSE2} sse4_1 sse4_2 avx f16c fma bmi1 bmi2 avx2 sha_ni vaes vpclmulqdq"
ZEN4 = f"{ZEN3} avx512f avx512dq avx512ifma avx512cd avx512bw avx512vl avx512_bf16 avx512vbmi avx512_vnni"
ALDER_LAKE = f"{ZEN3} avx_vnni gfni"
SKYLAKE_SERVER = f"{ZEN3} avx512f avx512dq avx512cd avx512bw avx512vl"
SAPPHIRE_RAPIDS = f"{ZEN4} avx_vnni amx_bf16 avx512_fp16 amx_tile amx_int8"
CORTEX_A72 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
NEOVERSE_N1 = f"{CORTEX_A72} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"
CPUS = {
    "a plain x86-64": ("x86_64", SSE2, []),
    "AMD EPYC, Zen 3": ("x86_64", ZEN3, ["avx2"]),
    "AMD EPYC, Zen 4": ("x86_64", ZEN4, ["avx512vnni", "avx2"]),
    "Intel Alder Lake": ("x86_64", ALDER_LAKE, ["avxvnni", "avx2"]),
    "Intel Skylake server": ("x86_64", SKYLAKE_SERVER, ["avx2"]),
    "Intel Sapphire Rapids": ("x86_64", SAPPHIRE_RAPIDS, ["avx512vnni", "avxvnni", "avx2"]),
    "Arm Neoverse N1": ("aarch64", NEOVERSE_N1, ["dotprod"]),
    "Arm Cortex-A72": ("aarch64", CORTEX_A72, []),
    "Arm, named as on a Mac": ("arm64", NEOVERSE_N1, ["dotprod"]),
    "RISC-V": ("riscv64", "", []),
}
X86_INFO = f"processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: {ZEN3}\n\nprocessor\t: 1\nflags\t\t: fpu\n"
ARM_INFO = f"processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: {NEOVERSE_N1}\nCPU part\t: 0xd0c\n"


def named(name: str) -> CpuKind:
    return next(kind for kind in KINDS if kind.name == name)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    (tmp_path / "a.cpp").write_text('#include "b.h"\n')
    (tmp_path / "b.h").write_text("int b();\n")
    return tmp_path


@pytest.fixture
def built(sources: Path) -> Callable[[str], Path]:
    """Puts the library of that kind in its place."""

    def build(name: str) -> Path:
        library = sources / library_name(sources, named(name))
        library.touch()
        return library

    return build


@pytest.mark.parametrize(("machine", "flags", "names"), CPUS.values(), ids=CPUS)
def test_the_kinds_of_a_cpu_come_best_first(machine: str, flags: str, names: list[str]) -> None:
    assert [kind.name for kind in kinds_of(machine, frozenset(flags.split()))] == names


@pytest.mark.parametrize(("text", "flags"), [(X86_INFO, ZEN3), (ARM_INFO, NEOVERSE_N1), ("", "")])
def test_flags_are_those_of_the_first_core(text: str, flags: str) -> None:
    assert parse_cpu_flags(text) == frozenset(flags.split())


@pytest.mark.parametrize(
    ("system", "machine", "names"),
    [("Darwin", "arm64", ["dotprod"]), ("Darwin", "x86_64", []), ("Windows", "AMD64", [])],
)
def test_without_cpuinfo_only_a_mac_with_an_arm_cpu_is_known(
    system: str, machine: str, names: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(processors, "CPU_INFO", tmp_path / "none")
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert [kind.name for kind in kinds_of(machine, cpu_flags())] == names


def test_the_best_library_that_was_built_is_taken(sources: Path, built: Callable[[str], Path]) -> None:
    flags = frozenset(ZEN4.split())
    weak = built("avx2")
    assert find_library(sources, "x86_64", flags) == weak
    best = built("avx512vnni")
    built("avxvnni")
    assert find_library(sources, "x86_64", flags) == best


@pytest.mark.parametrize("name", ["a.cpp", "b.h"])
def test_a_library_of_other_sources_is_not_taken(
    name: str, sources: Path, built: Callable[[str], Path]
) -> None:
    built("avx2")
    (sources / name).write_text("// edited\n")
    with pytest.raises(NoLibrary, match="sources have changed; install gemcut again"):
        find_library(sources, "x86_64", frozenset(ZEN3.split()))


def test_a_library_of_other_options_is_not_taken(
    sources: Path, built: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    built("avx2")
    monkeypatch.setattr(processors, "OPTIONS", ("-O2",))
    with pytest.raises(NoLibrary, match="sources have changed"):
        find_library(sources, "x86_64", frozenset(ZEN3.split()))


def test_without_a_library_a_compiler_is_asked_for(sources: Path, built: Callable[[str], Path]) -> None:
    built("dotprod")
    with pytest.raises(NoLibrary, match="not built; install a C.. compiler"):
        find_library(sources, "x86_64", frozenset(ZEN3.split()))


def test_a_cpu_of_no_kind_is_told_what_it_would_need(sources: Path, built: Callable[[str], Path]) -> None:
    built("avx2")
    with pytest.raises(NoLibrary, match="need AVX2"):
        find_library(sources, "x86_64", frozenset(SSE2.split()))
