"""Every form of the linear map against float64."""

import pytest
import torch

from gemcut.kernels.linear import linear, widened
from gemcut.kernels.native import MOST_ROWS, Native


def operands(rows: int, inner: int, out: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows + inner + out)
    x = torch.randn(rows, inner, generator=generator).bfloat16()
    weight = (torch.randn(out, inner, generator=generator) * inner**-0.5).bfloat16()
    return x, weight, x.double() @ weight.double().T


def assert_rounded_once(got: torch.Tensor, want: torch.Tensor) -> None:
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.double(), want, atol=1e-3, rtol=2**-8)


SHAPES = [(1536, 640), (64, 3), (100, 17), (7, 5), (16, 1), (4096, 130)]


@pytest.mark.parametrize(("inner", "out"), SHAPES)
@pytest.mark.parametrize("rows", range(1, MOST_ROWS + 1))
def test_the_native_form_is_exact_to_one_rounding(built: Native, rows: int, inner: int, out: int) -> None:
    x, weight, want = operands(rows, inner, out)
    assert_rounded_once(built.product(x, weight), want)


@pytest.mark.parametrize(("inner", "out"), SHAPES)
def test_the_native_form_gives_a_row_the_same_alone_and_among_others(
    built: Native, inner: int, out: int
) -> None:
    """So guesses that are checked together choose what each would have chosen alone."""
    x, weight, _ = operands(MOST_ROWS, inner, out)
    alone = torch.cat([built.product(row[None], weight) for row in x])
    for rows in range(1, MOST_ROWS + 1):
        assert built.product(x[:rows], weight).equal(alone[:rows])


def test_the_native_form_takes_rows_that_are_not_contiguous(built: Native) -> None:
    x, weight, want = operands(4, 96, 40)
    assert_rounded_once(built.product(x[::2], weight), want[::2])


def test_the_native_form_keeps_infinity_and_nan(built: Native) -> None:
    weight = torch.ones(4, 64, dtype=torch.bfloat16)
    weight[1, 3], weight[2, 5] = float("inf"), float("nan")
    out = built.product(torch.ones(1, 64, dtype=torch.bfloat16), weight)[0]
    assert out[0] == 64
    assert out[1] == float("inf")
    assert out[2].isnan()


@pytest.mark.parametrize(("inner", "out"), SHAPES)
def test_the_widened_form_is_exact_to_one_rounding(inner: int, out: int) -> None:
    x, weight, want = operands(9, inner, out)
    assert_rounded_once(widened(x, weight), want)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("rows", [0, 1, 4, 5, 40])
def test_whatever_form_is_chosen_gives_the_product(
    rows: int, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gemcut.kernels.linear.multiplies_bfloat16", lambda: fast)
    x, weight, want = operands(rows, 256, 96)
    with torch.inference_mode():
        assert_rounded_once(linear(x, weight), want)


def test_gradients_flow_in_bfloat16_too() -> None:
    x, weight, _ = operands(3, 32, 8)
    weight.requires_grad_()
    linear(x, weight).sum().backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad[0], x.sum(0), atol=0.05, rtol=0.02)
