"""Calls native products on memory of exactly their operands' sizes, which the address sanitizer watches.

    LD_PRELOAD=libasan.so PYTHONMALLOC=malloc python under_sanitizer.py LIBRARY [--beyond]

Without torch, whose allocator rounds sizes up.  --beyond: with one output more than there is memory for.
"""

import ctypes
import random
import sys

BLOCK_BYTES = {4: 18, 8: 34}
# rows, blocks, outputs
SIZES = [(1, 1, 1), (1, 3, 9), (2, 48, 33), (5, 2, 7), (32, 4, 8), (33, 13, 65), (70, 1, 31)]


def memory(count: int) -> ctypes.Array:
    """That many bytes of anything; one at least, which nothing may touch."""
    return (ctypes.c_uint8 * max(1, count)).from_buffer_copy(random.randbytes(max(1, count)))


def main() -> None:
    """Call everything."""
    library, beyond = ctypes.CDLL(sys.argv[1]), "--beyond" in sys.argv
    long = ctypes.c_int64
    random.seed(0)
    for rows, blocks, out in SIZES:
        for bits, block_bytes in BLOCK_BYTES.items():
            for wide in (0, 1):
                number = 4 if wide else 2
                x, y = memory(rows * blocks * 32 * number), memory(rows * out * number)
                weight = memory(out * blocks * block_bytes)
                sizes = long(rows), long(blocks), long(out + beyond)
                library.block_product(x, weight, y, *sizes, bits, wide, 1)
        x, weight, y = memory(rows * blocks * 60), memory(out * blocks * 60), memory(rows * out * 2)
        if rows <= 32:  # a width that is no multiple of any vector's
            library.few_rows(x, weight, y, rows, long(blocks * 30), long(out), 1)


if __name__ == "__main__":
    main()
