"""How fast this machine reads weights and multiplies, measured with the products that models use.

A feed-forward of E2B (on a GPU a wider one), again and again over more weights than caches hold: with one row
it is bound by memory, with many by arithmetic.  Nothing is kept: a machine that is busy now is slower now.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

import torch
from torch import Tensor

from gemcut.fit.devices import LAYER_S
from gemcut.fit.estimate import FLOP_OF_A_VALUE, PROMPT_TOKENS
from gemcut.fit.rates import Rates
from gemcut.fit.weights import FORMS, PRECISIONS, Precision
from gemcut.kernels.block_layout import row_bytes
from gemcut.kernels.block_linear import block_linear
from gemcut.kernels.gate import gelu_times
from gemcut.kernels.linear import linear

FILL = 0x3C  # every byte: 0.0115 in bfloat16, a scale of 1.06 in blocks
READ_S, MULTIPLY_S = 0.2, 0.3  # how long each form is measured, after a first time that warms
# A layer's work beside its products on a CPU, as so many additions: on one row, which calling them takes, and
# on each value of many rows, attention included.  Calibrated with `python -m bench.fit`.
SMALL_OPERATIONS, ROW_OPERATIONS = 40, 140
SMALL_TIMES, ROW_TIMES = 2000, 100

FeedForward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Trial:
    """The feed-forwards that are measured: (N, width) -> (N, inner) -> (N, width), and all their bytes."""

    width: int
    inner: int
    all_bytes: int

    @property
    def operations(self) -> int:
        """Of one row."""
        return FLOP_OF_A_VALUE * 3 * self.width * self.inner

    def weight_bytes(self, form: Precision) -> tuple[int, int, int]:
        """Of gate, up and down."""
        wide, narrow = _row_bytes(self.width, form), _row_bytes(self.inner, form)
        return self.inner * wide, self.inner * wide, self.width * narrow


ON_CPU = Trial(1536, 6144, 2**28)
ON_GPU = Trial(4096, 16_384, 2**30)  # else launching would take the time, and not reading


@torch.inference_mode()
def measure(device: torch.device) -> Rates:
    """The rates of a device, within about three seconds."""
    trial = ON_CPU if device.type == "cpu" else ON_GPU
    buffer = torch.empty(trial.all_bytes, dtype=torch.uint8, device=device).fill_(FILL)
    read: dict[Precision, float] = {}
    multiply: dict[Precision, float] = {}
    for form in PRECISIONS:
        parts = list(_feed_forwards(buffer, trial, form))
        row, rows = (
            torch.full((count, trial.width), 1e-3, dtype=torch.bfloat16, device=device)
            for count in (1, PROMPT_TOKENS)
        )
        read[form] = sum(trial.weight_bytes(form)) / _seconds(parts, row, READ_S)
        multiply[form] = PROMPT_TOKENS * trial.operations / _seconds(parts, rows, MULTIPLY_S)
    if device.type == "cuda":  # where the rest was not calibrated
        return Rates(read=read, multiply=multiply, layer_s=LAYER_S["gpu"], row_s=0.0)
    layer_s = SMALL_OPERATIONS * _addition_s(1, SMALL_TIMES)
    row_s = ROW_OPERATIONS * _addition_s(PROMPT_TOKENS, ROW_TIMES) / (PROMPT_TOKENS * ON_CPU.width)
    return Rates(read=read, multiply=multiply, layer_s=layer_s, row_s=row_s)


@torch.inference_mode()
def read_rate(device: torch.device) -> float:
    """Bytes a second of the device's memory, read in order and added up: more than any model can have."""
    trial = ON_CPU if device.type == "cpu" else ON_GPU
    numbers = torch.ones(trial.all_bytes // 8, dtype=torch.int64, device=device)
    return trial.all_bytes / _seconds([torch.sum], numbers, READ_S)


def _feed_forwards(buffer: Tensor, trial: Trial, form: Precision) -> Iterator[FeedForward]:
    """As many as the buffer holds the weights of."""
    sizes = trial.weight_bytes(form)
    for start in range(0, len(buffer) - sum(sizes) + 1, sum(sizes)):
        gate, up, down = torch.split(buffer[start : start + sum(sizes)], list(sizes))
        yield _feed_forward(
            gate.view(trial.inner, -1), up.view(trial.inner, -1), down.view(trial.width, -1), form
        )


def _feed_forward(gate: Tensor, up: Tensor, down: Tensor, form: Precision) -> FeedForward:
    """`model.feed_forward.Mlp` of weights given as bytes, (out, bytes of a row)."""
    blocks = FORMS[form]

    def product(x: Tensor, weight: Tensor) -> Tensor:
        return linear(x, weight.view(torch.bfloat16)) if blocks is None else block_linear(x, weight, blocks)

    return lambda x: product(gelu_times(product(x, gate), product(x, up)), down)


def _row_bytes(width: int, form: Precision) -> int:
    blocks = FORMS[form]
    return torch.bfloat16.itemsize * width if blocks is None else row_bytes(width, blocks)


def _seconds(parts: Sequence[FeedForward], x: Tensor, at_least_s: float) -> float:
    """Of one feed-forward of the rows x (N, width), each time with other weights."""
    parts[-1](x)
    _wait(x.device)
    start, done = time.perf_counter(), 0
    for part in cycle(parts):
        part(x)
        done += 1
        if x.device.type == "cpu" or done % len(parts) == 0:  # a GPU runs behind, and is asked seldom
            _wait(x.device)
            if time.perf_counter() - start > at_least_s:
                break
    return (time.perf_counter() - start) / done


def _addition_s(rows: int, times: int) -> float:
    """Seconds of an addition of so many rows; of one, calling it is what takes the time."""
    x = torch.full((rows, ON_CPU.width), 1e-3, dtype=torch.bfloat16)
    torch.add(x, x)
    start = time.perf_counter()
    for _ in range(times):
        torch.add(x, x)
    return (time.perf_counter() - start) / times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
