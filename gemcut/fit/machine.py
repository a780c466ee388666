"""What this machine is: its processor, its memory, its GPUs; read without torch."""

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from gemcut.engine.main_memory import MainMemory, main_memory
from gemcut.kernels.processors import CPU_INFO, parse_cpu_flags

BOARD = Path("/proc/device-tree/model")  # the name of a small computer, whose processor has none
# Flags of Linux that products of weights use, x86 and Arm.
INSTRUCTIONS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "avx_vnni": "AVX-VNNI",
    "amx_int8": "AMX int8",
    "amx_bf16": "AMX bf16",
    "asimd": "NEON",
    "asimddp": "dot product",
    "i8mm": "int8 matrices",
    "bf16": "bf16",
    "sve": "SVE",
}
ASK_GPUS = ("nvidia-smi", "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits")
ASK_TIMEOUT_S = 10
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Processor:
    """The CPU.  cores: those that this process may use.  instructions: those that products use."""

    name: str
    cores: int
    instructions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU.  memory: None where it has none of its own and shares the main memory."""

    name: str
    memory: MainMemory | None


@dataclass(frozen=True, kw_only=True)
class Machine:
    """All that counts for models."""

    processor: Processor
    memory: MainMemory
    gpus: tuple[Gpu, ...]


def read_machine() -> Machine:
    """This machine."""
    return Machine(processor=_processor(), memory=main_memory(), gpus=_gpus())


def parse_cpu_info(text: str) -> tuple[str | None, tuple[str, ...]]:
    """The processor's name, where /proc/cpuinfo has one, and its instruction sets."""
    pairs = [line.partition(":") for line in text.splitlines()]
    found = {key.strip(): value.strip() for key, _, value in reversed(pairs)}  # of the first core
    flags = parse_cpu_flags(text)
    return found.get("model name"), tuple(name for flag, name in INSTRUCTIONS.items() if flag in flags)


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """What nvidia-smi says: name, total and free memory in MiB, a line each."""
    gpus = []
    for line in text.strip().splitlines():
        name, *numbers = (part.strip() for part in line.rsplit(",", 2))
        own = all(number.isdigit() for number in numbers)  # "[N/A]" where memory is shared
        sizes = [MIB * int(number) for number in numbers] if own else []
        gpus.append(
            Gpu(name=name, memory=MainMemory(total_bytes=sizes[0], free_bytes=sizes[1]) if own else None)
        )
    return tuple(gpus)


def _processor() -> Processor:
    name, instructions = parse_cpu_info(CPU_INFO.read_text()) if CPU_INFO.exists() else (None, ())
    if name is None and BOARD.exists():
        name = BOARD.read_text().rstrip("\0\n")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Processor(
        name=platform.machine() if name is None else name,
        cores=1 if cores is None else cores,
        instructions=instructions,
    )


def _gpus() -> tuple[Gpu, ...]:
    """Those that NVIDIA's driver knows; none where it is not installed, or does not answer."""
    try:
        asked = subprocess.run(ASK_GPUS, capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return parse_gpus(asked.stdout)
