"""All experts in two products give what they give one by one."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gemcut.config import ExpertsConfig
from gemcut.kernels import linear
from gemcut.model import experts as experts_module
from gemcut.model.experts import Experts
from tests.parity.tiny import TINY

NUM_ROWS, WIDTH = 5, TINY["26b"].hidden_size


@pytest.fixture
def experts() -> Experts:
    config = ExpertsConfig(num_experts=16, top_k_experts=4, moe_intermediate_size=24)
    made = Experts(TINY["26b"], config).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for parameter in made.parameters():
        parameter.normal_(std=parameter.shape[-1] ** -0.5, generator=generator)
    return made


def operands() -> tuple[Tensor, Tensor, Tensor]:
    """Rows, weights and choices: several rows for some experts, none for others, the last one among them."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(NUM_ROWS, WIDTH, generator=generator)
    chosen = torch.stack([torch.randperm(12, generator=generator)[:4] for _ in range(NUM_ROWS)])
    return x, torch.rand(NUM_ROWS, 4, generator=generator), chosen


def test_together_is_one_by_one(experts: Experts, monkeypatch: pytest.MonkeyPatch) -> None:
    want = experts(*operands())
    monkeypatch.setattr(experts_module, "multiplies_groups", lambda device, dtype: True)
    with torch.inference_mode():
        got = experts(*operands())
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


MUTANTS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "groups that end one row early": lambda x, w, ends: linear.grouped_linear(x, w, (ends - 1).clamp(min=0)),
    "the neighbour's matrix": lambda x, w, ends: linear.grouped_linear(x, w.roll(1, 0), ends),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_small_mistakes_are_seen(experts: Experts, mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    want = experts(*operands())
    monkeypatch.setattr(experts_module, "multiplies_groups", lambda device, dtype: True)
    monkeypatch.setattr(experts_module, "grouped_linear", MUTANTS[mutant])
    with torch.inference_mode():
        assert not (experts(*operands()) - want).abs().max() < 1e-2


def test_a_cpu_multiplies_experts_one_by_one() -> None:
    assert not linear.multiplies_groups(torch.device("cpu"), torch.bfloat16)
