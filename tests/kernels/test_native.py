"""When the native kernels are asked, and that they refuse operands of which they would read too much."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gemcut.kernels.native import MOST_ROWS, Native, native_for
from gemcut.kernels.norm import rms_norm


def zeros(*shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=torch.bfloat16)


def test_few_rows_in_bfloat16_on_the_cpu_without_gradients_are_for_native_code(built: Native) -> None:
    row = zeros(1, 64)
    with torch.inference_mode():
        assert native_for(row, zeros(64)) is built
        assert native_for(zeros(MOST_ROWS + 1, 64)) is None
        for other in (row.float(), row.to("meta")):
            assert native_for(row, other) is None
            assert native_for(other, row) is None
    assert native_for(row) is None


@pytest.mark.usefixtures("built")
def test_a_compiled_function_does_without_native_code() -> None:
    """Its graph would break at every call that takes pointers."""
    x, weight = torch.randn(1, 64).bfloat16(), torch.randn(64).bfloat16()
    with torch.no_grad():
        whole = torch.compile(rms_norm, backend="eager", fullgraph=True)
        torch.testing.assert_close(whole(x, weight, 1e-6), rms_norm(x, weight, 1e-6), atol=0.02, rtol=0.01)


def test_weights_need_not_be_contiguous(built: Native) -> None:
    x, weight = torch.randn(1, 64).bfloat16(), torch.randn(128).bfloat16()[::2]
    assert torch.equal(built.norm(x, weight, 1e-6, None), built.norm(x, weight.clone(), 1e-6, None))


@pytest.mark.parametrize(
    "call",
    [
        lambda native: native.product(zeros(1, 63), zeros(8, 64)),
        lambda native: native.product(zeros(64), zeros(8, 64)),
        lambda native: native.product(zeros(1, 64), zeros(64, 8).T),
        lambda native: native.norm(zeros(1, 64), zeros(63), 1e-6, None),
        lambda native: native.norm(zeros(2, 64), zeros(64), 1e-6, zeros(1, 64)),
        lambda native: native.norm_rotate(zeros(2, 4, 64), zeros(64), 1e-6, zeros(1, 1, 64), zeros(1, 1, 64)),
        lambda native: native.norm_rotate(zeros(1, 4, 64), zeros(32), 1e-6, zeros(1, 1, 64), zeros(1, 1, 64)),
        lambda native: native.attend_row(zeros(1, 4, 64), zeros(9, 2, 64), zeros(8, 2, 64)),
        lambda native: native.attend_row(zeros(1, 4, 64), zeros(9, 2, 32), zeros(9, 2, 32)),
        lambda native: native.attend_row(zeros(1, 4, 64), zeros(9, 3, 64), zeros(9, 3, 64)),
        lambda native: native.attend_row(zeros(2, 4, 64), zeros(9, 2, 64), zeros(9, 2, 64)),
    ],
)
def test_operands_that_do_not_fit_are_refused(built: Native, call: Callable[[Native], Tensor]) -> None:
    with pytest.raises(AssertionError):
        call(built)
