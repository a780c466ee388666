"""The forms of the linear map on this CPU, in bfloat16, int8 and int4: `python -m bench.linear`.

One row is bound by memory, so its figure is gigabytes of weights a second, beside those of a plain read; many
rows are bound by arithmetic: how much of that there is, a product of float32 matrices shows.
"""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gemcut.kernels import block_linear
from gemcut.kernels.blocks import to_blocks
from gemcut.kernels.linear import widened
from gemcut.kernels.native import MOST_ROWS, Native, native

OUT, IN, COPIES = 6144, 1536, 30  # COPIES: more weights than any cache holds
ROWS = (1, 4, 8, 16, 32, 512)
ROUNDS, ROUND_S = 3, 0.15


@dataclass(frozen=True)
class Form:
    """A way to multiply rows of bfloat16 with weights of one kind."""

    name: str
    weights: list[Tensor]
    product: Callable[[Tensor, Tensor], object]
    most_rows: int = max(ROWS)


def seconds(form: Form, x: Tensor) -> float:
    """Of one product: the median of rounds in which the weights take turns."""
    weights, times = itertools.cycle(form.weights), []
    form.product(x, next(weights))
    for _ in range(ROUNDS):
        start, count, passed = time.perf_counter(), 0, 0.0
        while passed < ROUND_S:
            form.product(x, next(weights))
            count, passed = count + 1, time.perf_counter() - start
        times.append(passed / count)
    return sorted(times)[ROUNDS // 2]


def forms(built: Native | None) -> list[Form]:
    """Every form that there is here."""
    weight = torch.randn(OUT, IN)
    plain = [weight.bfloat16() for _ in range(COPIES)]
    int8, int4 = (list(to_blocks(weight, form).repeat(COPIES, 1, 1)) for form in ("int8", "int4"))
    whole = [torch.randint(-127, 128, (OUT, IN), dtype=torch.int8) for _ in plain]
    scales = torch.rand(OUT).bfloat16()
    found = [
        Form("bf16 read", plain, lambda x, w: w.view(torch.int64).sum(), most_rows=1),
        Form("bf16 torch.mv", plain, lambda x, w: torch.mv(w, x[0]), most_rows=1),
        Form("bf16 linear", plain, lambda x, w: F.linear(x, w)),
        Form("bf16 widened", plain, widened),
        Form("int8 torch", whole, lambda x, w: torch._weight_int8pack_mm(x, w, scales)),
        Form("int8 widened", int8, lambda x, w: block_linear.widened(x, w, "int8")),
        Form("int4 widened", int4, lambda x, w: block_linear.widened(x, w, "int4")),
    ]
    if built is not None:
        found += [
            Form("bf16 native", plain, built.product, most_rows=MOST_ROWS),
            Form("int8 native", int8, lambda x, w: built.block_product(x, w, 8)),
            Form("int4 native", int4, lambda x, w: built.block_product(x, w, 4)),
        ]
    return sorted(found, key=lambda form: form.name)


@torch.inference_mode()
def main() -> None:
    """Measure and print."""
    every, rows = forms(native()), torch.randn(max(ROWS), IN).bfloat16()
    for count in ROWS:
        for form in every:
            if count > form.most_rows:
                continue
            took = seconds(form, rows[:count])
            if count == 1:
                print(f"1 row    {form.name:13} {form.weights[0].nbytes / took / 1e9:6.1f} GB/s")
            else:
                print(f"{count:3} rows {form.name:13} {2 * count * OUT * IN / took / 1e9:6.1f} GFLOP/s")
    square = Form("float32 product", [torch.randn(IN, IN)], lambda x, w: w @ w)
    print(f"float32 product        {2 * IN**3 / seconds(square, rows) / 1e9:6.1f} GFLOP/s")


if __name__ == "__main__":
    main()
