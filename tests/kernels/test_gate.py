"""The gate: the native form is the plain one up to the last bit of bfloat16."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gemcut.kernels.gate import gelu_times
from gemcut.kernels.native import Native


def gelu(x: Tensor) -> Tensor:
    """Where 1 + tanh would lose all digits, this does not."""
    return x * torch.sigmoid(2 * (2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(1, 1), (1, 6144), (3, 7), (70, 1001)])
def test_the_native_gate_is_the_plain_one(built: Native, shape: tuple[int, ...]) -> None:
    x, times = (4 * normal(*shape)).bfloat16(), normal(*shape, seed=1).bfloat16()
    got, want = built.gelu_times(x, times), gelu(x.double()).bfloat16() * times
    torch.testing.assert_close(got, want, atol=1e-30, rtol=2**-6)
    assert (got != want).float().mean() < 0.01


def test_the_native_gelu_is_close_for_every_number_there_is(built: Native) -> None:
    every = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(torch.bfloat16)
    every = every[every.isfinite()]
    got, want = built.gelu_times(every, torch.ones_like(every)), gelu(every.double())
    torch.testing.assert_close(got.double(), want, atol=1e-30, rtol=2**-8 + 1e-4)


@pytest.mark.parametrize("bad", [torch.inf, -torch.inf, torch.nan])
def test_what_is_not_finite_stays_so(built: Native, bad: float) -> None:
    x = torch.ones(40).bfloat16()
    x[3] = bad
    got = built.gelu_times(x, torch.ones_like(x))
    assert not got[3].isfinite()
    assert got[4:].isfinite().all()


def test_rows_that_are_not_contiguous(built: Native) -> None:
    x, times = normal(4, 96).bfloat16()[::2], normal(2, 192, seed=1).bfloat16()[:, 96:]
    assert built.gelu_times(x, times).equal(built.gelu_times(x.clone(), times.clone()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_whatever_form_is_chosen_gives_the_definition(dtype: torch.dtype) -> None:
    x, times = normal(5, 32).to(dtype), normal(5, 32, seed=1).to(dtype)
    want = F.gelu(x.double(), approximate="tanh") * times.double()
    limit = 2**-7 if dtype == torch.bfloat16 else 1e-5
    with torch.inference_mode():
        torch.testing.assert_close(gelu_times(x, times).double(), want, atol=1e-3 * limit, rtol=limit)
    torch.testing.assert_close(gelu_times(x, times).double(), want, atol=1e-3 * limit, rtol=limit)


def test_a_compiled_gate_gives_the_definition() -> None:
    x, times = normal(5, 32), normal(5, 32, seed=1)
    whole = torch.compile(gelu_times, backend="eager", fullgraph=True)
    torch.testing.assert_close(whole(x, times), gelu_times(x, times))
