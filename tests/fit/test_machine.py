import subprocess
from pathlib import Path

import pytest

from gemcut.engine.main_memory import MainMemory
from gemcut.fit import machine
from gemcut.fit.machine import Gpu, parse_cpu_info, parse_gpus, read_machine

XEON = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8488C
flags\t\t: fpu sse2 avx avx2 avx512f avx512_vnni avx512_bf16 amx_bf16 amx_tile amx_int8 avx_vnni
bugs\t\t: spectre_v1

processor\t: 1
model name\t: another
flags\t\t: fpu
"""
EPYC = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu sse4_2 avx avx2 fma\n"
PI = "processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 asimdhp asimddp\n"
GRAVITON = "processor\t: 0\nFeatures\t: fp asimd asimddp sve i8mm bf16\n"
MIB = 2**20


@pytest.mark.parametrize(
    ("text", "name", "instructions"),
    [
        (
            XEON,
            "Intel(R) Xeon(R) Platinum 8488C",
            ("AVX2", "AVX-512", "AVX-512 VNNI", "AVX-512 BF16", "AVX-VNNI", "AMX int8", "AMX bf16"),
        ),
        (EPYC, "AMD EPYC", ("AVX2",)),
        (PI, None, ("NEON", "dot product")),
        (GRAVITON, None, ("NEON", "dot product", "int8 matrices", "bf16", "SVE")),
        ("", None, ()),
    ],
)
def test_a_processor_says_its_name_and_what_it_multiplies_with(
    text: str, name: str | None, instructions: tuple[str, ...]
) -> None:
    assert parse_cpu_info(text) == (name, instructions)


def test_the_driver_says_what_gpus_there_are() -> None:
    said = "NVIDIA H200, 143771, 143100\nNVIDIA GeForce RTX 4090, 24564, 20100\n"
    assert parse_gpus(said) == (
        Gpu(name="NVIDIA H200", memory=MainMemory(total_bytes=143_771 * MIB, free_bytes=143_100 * MIB)),
        Gpu(
            name="NVIDIA GeForce RTX 4090",
            memory=MainMemory(total_bytes=24_564 * MIB, free_bytes=20_100 * MIB),
        ),
    )
    assert parse_gpus("\n") == ()


def test_a_gpu_may_share_the_main_memory() -> None:
    assert parse_gpus("NVIDIA GB10, [N/A], [N/A]\n") == (Gpu(name="NVIDIA GB10", memory=None),)


def test_a_comma_in_a_name_is_part_of_it() -> None:
    assert parse_gpus("A, B, 100, 50\n")[0].name == "A, B"


@pytest.mark.parametrize(
    "problem",
    [
        FileNotFoundError("nvidia-smi"),
        subprocess.CalledProcessError(9, "nvidia-smi"),
        subprocess.TimeoutExpired("nvidia-smi", 10),
    ],
)
def test_without_an_answer_of_the_driver_there_are_no_gpus(
    problem: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise problem

    monkeypatch.setattr(machine.subprocess, "run", fail)
    assert read_machine().gpus == ()


def test_a_small_computer_is_called_as_its_board(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(PI)
    (tmp_path / "model").write_text("Raspberry Pi 5 Model B Rev 1.0\0")
    monkeypatch.setattr(machine, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine, "BOARD", tmp_path / "model")
    assert read_machine().processor.name == "Raspberry Pi 5 Model B Rev 1.0"


def test_elsewhere_than_on_linux_there_is_a_name_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "CPU_INFO", tmp_path / "none")
    monkeypatch.setattr(machine, "BOARD", tmp_path / "none")
    processor = read_machine().processor
    assert processor.name
    assert processor.cores >= 1
    assert processor.instructions == ()
