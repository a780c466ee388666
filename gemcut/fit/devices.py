"""Devices that people have or rent: their makers' figures, each with its source.

Matrix rates are dense, in bfloat16 with sums in float32 (on a board in float32), in TFLOP/s; NVIDIA often
prints twice as much, for matrices that are half zeros.  Where a page of a GeForce has none, it is CUDA cores
x 4 x clock, which gives what the whitepapers have for the others.  Apple prints none: those are cores x 128
lanes x 2 x clock, as the source has it, but for the M5, which is said to be four times an M4 at matrices.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from gemcut.engine.main_memory import MainMemory
from gemcut.errors import BadOption
from gemcut.fit.rates import Rates
from gemcut.fit.weights import PRECISIONS, Precision

DeviceKind = Literal["gpu", "apple", "board"]

GIB = 2**30
BLOCKS: frozenset[Precision] = frozenset(("int8", "int4"))
# What programs reach of a device's figures; docs/log.md compares with published measurements.
READ_SHARE = 0.8
MULTIPLY_SHARE = 0.5
LAYER_S: Mapping[DeviceKind, float] = {"gpu": 80e-6, "apple": 200e-6, "board": 400e-6}
# Products with blocks, beside float32: Arm's dot products take whole numbers four at a time, of which half
# the gain remains.
BLOCKS_FASTER: Mapping[DeviceKind, float] = {"gpu": 1, "apple": 1, "board": 2}
# What is left to models: a screen or error correction takes some of a GPU's memory, a small computer's own
# programs run beside.  Of a Mac's, its GPU may have two thirds, from 36 GB on three quarters (Metal's
# recommendedMaxWorkingSetSize, as people's logs have it: https://github.com/ollama/ollama/issues/434).
FREE_SHARE: Mapping[DeviceKind, float] = {"gpu": 0.95, "apple": 0.75, "board": 0.9}
SMALL_MAC_GIB, SMALL_MAC_SHARE = 36, 2 / 3

IGNORED = {
    "nvidia",
    "geforce",
    "rtx",
    "rx",
    "amd",
    "radeon",
    "apple",
    "instinct",
    "sxm",
    "sxm4",
    "sxm5",
    "hbm3",
}

ADA = "https://images.nvidia.com/aem-dam/Solutions/geforce/ada/nvidia-ada-gpu-architecture.pdf"
AMPERE = "https://www.nvidia.com/content/PDF/nvidia-ampere-ga-102-gpu-architecture-whitepaper-v2.1.pdf"
BLACKWELL = (
    "https://images.nvidia.com/aem-dam/Solutions/geforce/blackwell/nvidia-rtx-blackwell-gpu-architecture.pdf"
)
DATA_CENTER = "https://www.nvidia.com/en-us/data-center"
GEFORCE = "https://www.nvidia.com/en-us/geforce/graphics-cards"
RTX_4060 = f"{GEFORCE}/40-series/rtx-4060-4060ti/"
RTX_5070 = f"{GEFORCE}/50-series/rtx-5070-family/"
APPLE_GPUS = "https://hmc-tech.com/gpu"
APPLE_M5 = (
    "https://www.apple.com/newsroom/2025/10/"
    "apple-unleashes-m5-the-next-big-leap-in-ai-performance-for-apple-silicon/"
)
H100_PCIE = "https://www.nvidia.com/content/dam/en-zz/Solutions/gtcs22/data-center/h100/PB-11133-001_v01.pdf"


@dataclass(frozen=True)
class Device:
    """One row.

    memory_gib: what it is sold with, the first where nothing else is said.  read_gb_s: of its memory.
    """

    name: str
    title: str
    kind: DeviceKind
    memory_gib: tuple[int, ...]
    read_gb_s: float
    tflops: float
    source: str

    @property
    def rates(self) -> Rates:
        """What programs reach of its figures."""
        plain = MULTIPLY_SHARE * 1e12 * self.tflops
        blocks = BLOCKS_FASTER[self.kind] * plain
        return Rates(
            read=dict.fromkeys(PRECISIONS, READ_SHARE * 1e9 * self.read_gb_s),
            multiply={form: blocks if form in BLOCKS else plain for form in PRECISIONS},
            layer_s=LAYER_S[self.kind],
            row_s=0.0,
            unreached=BLOCKS if self.kind == "gpu" else frozenset(),
        )

    def share(self, gib: int) -> float:
        """How much of its memory models may have, where it is sold with so much."""
        small_mac = self.kind == "apple" and gib < SMALL_MAC_GIB
        return SMALL_MAC_SHARE if small_mac else FREE_SHARE[self.kind]

    def memory(self, gib: int) -> MainMemory:
        """That in bytes: nobody knows what else runs there, so all of it is free."""
        left = int(self.share(gib) * gib * GIB)
        return MainMemory(total_bytes=left, free_bytes=left)


DEVICES = (
    Device("3060", "GeForce RTX 3060", "gpu", (12,), 360, 25.5, f"{GEFORCE}/30-series/rtx-3060-3060ti/"),
    Device("3070", "GeForce RTX 3070", "gpu", (8,), 448, 40.6, AMPERE),
    Device("3080", "GeForce RTX 3080", "gpu", (10,), 760, 59.5, AMPERE),
    Device("3090", "GeForce RTX 3090", "gpu", (24,), 936, 71, AMPERE),
    Device("4060", "GeForce RTX 4060", "gpu", (8,), 272, 30.2, RTX_4060),
    Device("4060-ti", "GeForce RTX 4060 Ti", "gpu", (16, 8), 288, 44.1, RTX_4060),
    Device("4070", "GeForce RTX 4070", "gpu", (12,), 504, 58.3, f"{GEFORCE}/40-series/rtx-4070-family/"),
    Device("4080", "GeForce RTX 4080", "gpu", (16,), 717, 97.5, ADA),
    Device("4090", "GeForce RTX 4090", "gpu", (24,), 1008, 165.2, ADA),
    Device("5070", "GeForce RTX 5070", "gpu", (12,), 672, 61.7, RTX_5070),
    Device("5070-ti", "GeForce RTX 5070 Ti", "gpu", (16,), 896, 87.9, RTX_5070),
    Device("5080", "GeForce RTX 5080", "gpu", (16,), 960, 112.6, BLACKWELL),
    Device("5090", "GeForce RTX 5090", "gpu", (32,), 1792, 209.5, BLACKWELL),
    Device("l4", "NVIDIA L4", "gpu", (24,), 300, 121, f"{DATA_CENTER}/l4/"),
    Device("l40s", "NVIDIA L40S", "gpu", (48,), 864, 362, f"{DATA_CENTER}/l40s/"),
    Device("a100-40", "NVIDIA A100, 40 GB", "gpu", (40,), 1555, 312, f"{DATA_CENTER}/a100/"),
    Device("a100-80", "NVIDIA A100, 80 GB", "gpu", (80,), 2039, 312, f"{DATA_CENTER}/a100/"),
    Device("h100", "NVIDIA H100 SXM", "gpu", (80,), 3350, 989, f"{DATA_CENTER}/h100/"),
    Device("h100-pcie", "NVIDIA H100 PCIe", "gpu", (80,), 2000, 756, H100_PCIE),
    Device("h200", "NVIDIA H200 SXM", "gpu", (141,), 4800, 989, f"{DATA_CENTER}/h200/"),
    Device("b200", "NVIDIA B200", "gpu", (180,), 8000, 2250, f"{DATA_CENTER}/dgx-b200/"),
    Device(
        "mi300x",
        "AMD Instinct MI300X",
        "gpu",
        (192,),
        5300,
        1307,
        "https://www.amd.com/en/products/accelerators/instinct/mi300/mi300x.html",
    ),
    Device(
        "7900-xtx",
        "AMD Radeon RX 7900 XTX",
        "gpu",
        (24,),
        960,
        122.8,
        "https://www.amd.com/en/products/graphics/desktops/radeon/7000-series/amd-radeon-rx-7900xtx.html",
    ),
    Device("m1", "Apple M1", "apple", (8, 16), 68, 2.6, APPLE_GPUS),
    Device("m1-pro", "Apple M1 Pro", "apple", (16, 32), 200, 5.2, APPLE_GPUS),
    Device("m1-max", "Apple M1 Max", "apple", (32, 64), 400, 10.6, APPLE_GPUS),
    Device("m2", "Apple M2", "apple", (8, 16, 24), 100, 3.6, APPLE_GPUS),
    Device("m2-pro", "Apple M2 Pro", "apple", (16, 32), 200, 6.8, APPLE_GPUS),
    Device("m2-max", "Apple M2 Max", "apple", (32, 64, 96), 400, 13.6, APPLE_GPUS),
    Device("m3", "Apple M3", "apple", (8, 16, 24), 100, 3.6, APPLE_GPUS),
    Device("m3-max", "Apple M3 Max, 40 cores", "apple", (48, 64, 128), 400, 14.3, APPLE_GPUS),
    Device("m4", "Apple M4", "apple", (16, 24, 32), 120, 3.8, APPLE_GPUS),
    Device("m4-pro", "Apple M4 Pro", "apple", (24, 48, 64), 273, 7.5, APPLE_GPUS),
    Device("m4-max", "Apple M4 Max, 40 cores", "apple", (48, 64, 128), 546, 17.2, APPLE_GPUS),
    Device("m5", "Apple M5", "apple", (16, 24, 32), 153, 15.2, APPLE_M5),
    Device(
        "raspberry-pi-5",
        "Raspberry Pi 5",
        "board",
        (8, 4, 16),
        17.1,
        0.154,
        "https://datasheets.raspberrypi.com/rpi5/raspberry-pi-5-product-brief.pdf",
    ),
)


def find_device(name: str) -> tuple[Device, int]:
    """The device of that name, and its memory in GiB: "4090", "A100 80GB", "m2 max 64".

    Raises BadOption for any other name, which says what there is: other memory, one device, the nearest.
    """
    found = known_device(name)
    if found is not None:
        return found
    _refuse_several(name)
    _refuse_memory(name)
    names = [device.name for device in DEVICES]
    near = get_close_matches(_plain(name), {_plain(one): one for one in names}, n=3, cutoff=0.4)
    nearest = [one for one in names if _plain(one) in near]
    hint = f"; the nearest are {', '.join(nearest)}" if nearest else ""
    raise BadOption(f"no device {name!r} is known here{hint}; there are {', '.join(names)}")


def known_device(name: str) -> tuple[Device, int] | None:
    """The same, None for any other name: as NVIDIA's driver calls a GPU, for one."""
    for device in DEVICES:
        sizes = {_plain(f"{device.name} {gib}"): gib for gib in device.memory_gib}
        gib = (sizes | {_plain(device.name): device.memory_gib[0]}).get(_plain(name))
        if gib is not None:
            return device, gib
    return None


def _refuse_several(name: str) -> None:
    """Raises BadOption for "2x 4090" and "4090 x2"."""
    several = re.fullmatch(r"\s*\d\d?\s*[x×]\s*(.+)|(.+?)\s*[x×]\s*\d\d?\s*", name.lower())
    one = None if several is None else known_device(several[1] or several[2])
    if one is not None:
        raise BadOption(f"gemcut runs a model on one device, not on {name!r}; ask with --for {one[0].name!r}")


def _refuse_memory(name: str) -> None:
    """Raises BadOption for a known device with memory that it is not sold with."""
    parts = re.fullmatch(r"(.+\D)(\d+)\s*(gb)?\s*", name.lower())
    one = None if parts is None else known_device(parts[1])
    if parts is not None and one is not None:
        sold = " or ".join(str(gib) for gib in one[0].memory_gib)
        raise BadOption(f"{one[0].title} is known here with {sold} GB, not with {parts[2]}")


def _plain(name: str) -> str:
    """A name without its maker, blanks, and the unit of its memory: "NVIDIA A100-SXM4-80GB" is "a10080"."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    return "".join(word.removesuffix("gb") for word in words if word not in IGNORED)
