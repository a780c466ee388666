"""The gate of feed-forwards: gelu of one product times another.

Forms: PyTorch's operations; native code for bfloat16 on a CPU, where torch's gelu takes ten times as long as
the product behind it.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gemcut.kernels.native import native_for


def gelu_times(x: Tensor, times: Tensor) -> Tensor:
    """gelu(x)·times, gelu in its tanh form: two tensors of one shape and dtype."""
    if (native := native_for(x, times)) is not None:
        return native.gelu_times(x, times)
    if writes_out_tanh(x):
        return x * torch.sigmoid(2 * (2 / math.pi) ** 0.5 * (x + 0.044715 * x**3)) * times
    return F.gelu(x, approximate="tanh") * times


def writes_out_tanh(x: Tensor) -> bool:
    """Whether torch.compile makes its own loops on a CPU: its tanh takes several times as long as its exp."""
    return torch.compiler.is_compiling() and x.device.type == "cpu"
