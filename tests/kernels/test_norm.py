"""Norms and rotations: the native form equals the plain one up to the last bit of bfloat16."""

import pytest
import torch
from torch import Tensor

from gemcut.kernels.native import Native
from gemcut.kernels.norm import norm_rotate, rms_norm, rotate

EPS = 1e-6


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


def assert_within_a_bit(got: Tensor, want: Tensor) -> None:
    """Sums in another order may round the other way, here and there."""
    assert got.dtype == want.dtype == torch.bfloat16
    torch.testing.assert_close(got, want, atol=2**-7, rtol=2**-7)
    assert (got != want).float().mean() < 0.01


@pytest.mark.parametrize("shape", [(1, 1536), (4, 64), (2, 3, 48), (1, 7), (3, 1, 21), (70, 1000)])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("added", [True, False])
@pytest.mark.parametrize("multiplied", [True, False])
def test_the_native_norm_is_the_plain_one(
    built: Native, shape: tuple[int, ...], weighted: bool, added: bool, multiplied: bool
) -> None:
    x = 3 * normal(*shape)
    weight = normal(shape[-1], seed=1) if weighted else None
    onto = normal(*shape, seed=2) if added else None
    times = normal(1, seed=3) if multiplied else None
    got = built.norm(x, weight, EPS, onto, times)
    assert_within_a_bit(got, rms_norm(x, weight, EPS, onto, times))


@pytest.mark.parametrize("shape", [(1, 8, 256), (4, 2, 64), (3, 1, 22), (70, 8, 96)])
def test_the_native_norm_with_rotation_is_the_plain_one(built: Native, shape: tuple[int, ...]) -> None:
    x, weight = 3 * normal(*shape), normal(shape[-1], seed=1)
    angles = torch.randn(shape[0], 1, shape[-1] // 2, generator=torch.Generator().manual_seed(2))
    angles = torch.cat((angles, angles), dim=-1)
    cos, sin = angles.cos().bfloat16(), angles.sin().bfloat16()
    got = built.norm_rotate(x, weight, EPS, cos, sin)
    assert_within_a_bit(got, rotate(rms_norm(x, weight, EPS), cos, sin))


def test_rows_that_are_not_contiguous(built: Native) -> None:
    x, onto = normal(4, 96)[::2], normal(4, 96, seed=1)[1::2]
    assert_within_a_bit(built.norm(x, None, EPS, onto, None), rms_norm(x, None, EPS, onto))


def test_infinity_and_nan_stay(built: Native) -> None:
    x = torch.ones(2, 64, dtype=torch.bfloat16)
    x[0, 3], x[1, 5] = float("nan"), float("inf")
    out = built.norm(x, None, EPS, None, None)
    assert out[0].isnan().all()
    assert out[1, 5].isnan()
    assert not out[1, :5].any()


@pytest.mark.parametrize("rows", [1, 33])
def test_whatever_form_is_chosen_gives_the_definition(rows: int) -> None:
    x, weight = normal(rows, 2, 32), normal(32, seed=1)
    wide = x.double()
    want = wide / (wide.square().mean(-1, keepdim=True) + EPS).sqrt() * weight.double()
    ones, zeros = torch.ones(rows, 1, 32).bfloat16(), torch.zeros(rows, 1, 32).bfloat16()
    with torch.inference_mode():
        torch.testing.assert_close(rms_norm(x, weight, EPS).double(), want, atol=1e-3, rtol=2**-7)
        torch.testing.assert_close(
            norm_rotate(x, weight, EPS, ones, zeros).double(), want, atol=1e-3, rtol=2**-7
        )
