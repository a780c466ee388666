"""The forms of the linear map in bfloat16 on this CPU: `python -m bench.linear`.

One row is bound by memory, so its figure is gigabytes of weights a second; many rows are bound by arithmetic:
how much of that there is, a product of float32 matrices shows.
"""

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from gemcut.kernels.linear import widened
from gemcut.kernels.native import MOST_ROWS, native

OUT, IN, COPIES, ROWS = 6144, 1536, 30, 512  # COPIES: more weights than any cache holds


def seconds(run: Callable[[Tensor], Tensor], weights: list[Tensor]) -> float:
    """Median time of a run over all weights."""
    times = []
    for _ in range(4):
        start = time.perf_counter()
        for weight in weights:
            run(weight)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


@torch.inference_mode()
def main() -> None:
    """Measure and print."""
    weights = [torch.randn(OUT, IN).bfloat16() for _ in range(COPIES)]
    row, rows = torch.randn(1, IN).bfloat16(), torch.randn(ROWS, IN).bfloat16()
    forms = {"torch.mv": lambda w: torch.mv(w, row[0]), "linear": lambda w: F.linear(row, w)}
    if (built := native()) is not None:
        forms["native"] = lambda w: built.product(row, w)
    for name, run in forms.items():
        print(f"1 row    {name:9} {2 * COPIES * OUT * IN / seconds(run, weights) / 1e9:6.1f} GB/s")
    for count in (4, 8, 16, 32, ROWS):
        x = rows[:count]
        forms = {"linear": lambda w, x=x: F.linear(x, w), "widened": lambda w, x=x: widened(x, w)}
        if built is not None and count <= MOST_ROWS:
            forms["native"] = lambda w, x=x: built.product(x, w)
        for name, run in forms.items():
            some = weights if count <= MOST_ROWS else weights[:2]
            rate = 2 * len(some) * count * OUT * IN / seconds(run, some) / 1e9
            print(f"{count:3} rows {name:9} {rate:6.1f} GFLOP/s")
    wide = torch.randn(1536, 1536)
    rate = 2 * 1536**3 * COPIES / seconds(lambda w: wide @ wide, weights) / 1e9
    print(f"float32 product {rate:6.1f} GFLOP/s")


if __name__ == "__main__":
    main()
