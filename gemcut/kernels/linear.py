"""The product of rows with a weight matrix: the operation where nearly all time goes.

Forms: PyTorch's own; for bfloat16 weights on a CPU, native code for a few rows (decode, bound by memory) and
float32 products over slices of widened weights for many (prefill, bound by arithmetic) where the CPU has no
bfloat16 products.
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from gemcut.kernels.native import MOST_ROWS, native_for

MEMORY_BOUND = 8  # rows up to which products of bfloat16 gain nothing over the native code
SLICE_WEIGHTS = 2**21  # widened at a time: 8 MiB, which stays in the cache


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x·weightᵀ, summed in float32 at least: (N, in) x (out, in) -> (N, out) in x's dtype."""
    if weight.dtype != torch.bfloat16 or weight.device.type != "cpu" or torch.is_grad_enabled():
        return F.linear(x, weight)
    if len(x) <= native_rows() and weight.is_contiguous() and (native := native_for(x, weight)) is not None:
        return native.product(x, weight)
    return F.linear(x, weight) if multiplies_bfloat16() else widened(x, weight)


def native_rows() -> int:
    """Up to how many rows of bfloat16 go through native code."""
    return MEMORY_BOUND if multiplies_bfloat16() else MOST_ROWS


def widened(x: Tensor, weight: Tensor) -> Tensor:
    """x·weightᵀ in float32, a slice of weights at a time; see docs/log.md for what it gains."""
    wide = x.float()
    out = torch.empty(len(x), len(weight), dtype=x.dtype)
    step = max(1, SLICE_WEIGHTS // weight.shape[1])
    for start in range(0, len(weight), step):
        out[:, start : start + step] = F.linear(wide, weight[start : start + step].float())
    return out


def grouped_linear(x: Tensor, weights: Tensor, ends: Tensor) -> Tensor:
    """Group after group of rows times a matrix each: (N, in) x (E, out, in) -> (N, out).

    ends: (E,) where each group's rows end, nothing behind the last.
    """
    return F.grouped_mm(x, weights.transpose(1, 2), offs=ends.int())


@functools.cache
def multiplies_groups(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether `grouped_linear` is one kernel: Hopper and later; else torch waits for the groups' bounds."""
    if device.type != "cuda" or dtype != torch.bfloat16:
        return False
    return torch.cuda.get_device_capability(device) >= (9, 0)


@functools.cache
def multiplies_bfloat16() -> bool:
    """Whether torch has fast bfloat16 products on this CPU; without, it multiplies one by one."""
    built_in = torch._C._has_mkldnn
    return built_in and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
