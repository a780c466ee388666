"""Compiles the kernels of paged_triton.py for a GPU that need not be here; prints what each takes.

    TRITON_INTERPRET=0 python -m tests.kernels.compile_triton CAPABILITY

A line for each of the real models' shapes in bfloat16 and in int8, and one for the merging kernel: bytes of
shared memory, bytes of registers that spilled.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from gemcut.kernels import paged_triton

SHAPES = ((256, None), (512, None), (512, 128))  # head width, rotated dimensions of compact rows
GROUP = 8  # query heads of a key head
BY_NAME = {"result_at": "*fp32", "top_at": "*fp32", "total_at": "*fp32"}
BY_NAME |= dict.fromkeys(("rows_at", "sequences_at", "tables_at", "first_at", "lows_at", "highs_at"), "*i32")
BY_NAME |= dict.fromkeys(("q_at", "pool_at", "out_at"), "*bf16")
BY_NAME |= dict.fromkeys(("table_stride", "num_parts"), "i32")
INT8 = {"pool_at": "*i8", "scales_at": "*fp16"}


def compiled(
    kernel: Any,
    constants: dict[str, Any],
    capability: int,
    options: dict[str, int],
    types: dict[str, str] = BY_NAME,
) -> tuple[int, int]:
    """Bytes of shared memory, and of registers that spilled."""
    names = kernel.arg_names
    source = ASTSource(
        kernel,
        {name: types.get(name, "constexpr") for name in names},
        {(names.index(name),): value for name, value in constants.items()},
        {
            (names.index(name),): [["tt.divisibility", 16]]
            for name in names
            if name in types and "_at" in name
        },
    )
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(made.asm["cubin"])
        dump = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
        usage = subprocess.run([dump, "-res-usage", file.name], capture_output=True, text=True, check=True)
    stack, local = re.search(r"STACK:(\d+).*LOCAL:(\d+)", usage.stdout).groups()
    return made.metadata.shared, int(stack) + int(local)


def main(capability: int) -> None:
    """Compile all, print."""
    parts = {"LEAST_PART": paged_triton.LEAST_PART, "FIXED_PART": None}
    for width, rotated in SHAPES:
        own = width if rotated is None else rotated
        block, stages = paged_triton._tile(16 * width, width + own, 2)
        constants = parts | {"PAGE_TOKENS": 16, "GROUP": GROUP, "GROUP_ROWS": 16, "WIDTH": width, "OWN": own}
        constants |= {"NUMBERS": width + own, "LOADED": own, "BLOCK": block, "WHOLE": False}
        bfloat16 = constants | {"SCALES": 0, "scales_at": None}
        options = {"num_warps": paged_triton.WARPS, "num_stages": stages}
        print(*compiled(paged_triton._attend_part, bfloat16, capability, options))
        block, stages = paged_triton.INT8_TILE
        scales = constants | {"SCALES": 2 if rotated is None else 3, "BLOCK": block}
        options = {"num_warps": paged_triton.INT8_WARPS, "num_stages": stages}
        print(*compiled(paged_triton._attend_part, scales, capability, options, BY_NAME | INT8))
    tiles = {"WIDTH": 512, "PART_TILE": paged_triton.PART_TILE, "WIDTH_TILE": paged_triton.WIDTH_TILE}
    print(*compiled(paged_triton._merge_parts, parts | tiles, capability, {}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
