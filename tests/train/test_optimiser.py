from dataclasses import replace

import pytest
import torch
from torch import nn

from gemcut.errors import BadTraining
from gemcut.train.optimiser import Optimiser, Rates, orthogonal
from tests.train.runs import RATES, small_model


@pytest.mark.parametrize("shape", [(2, 12, 30), (1, 30, 12), (3, 16, 16)])
def test_updates_of_matrices_are_about_orthogonal(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    singular = torch.linalg.svdvals(orthogonal(matrices, steps=8))
    assert singular.min() > 0.5
    assert singular.max() < 1.5


def test_updates_keep_the_directions_of_the_gradient() -> None:
    matrix = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    left, _, right = torch.linalg.svd(matrix)
    turned = left.transpose(1, 2) @ orthogonal(matrix, steps=8) @ right.transpose(1, 2)
    torch.testing.assert_close(turned, torch.diag_embed(turned.diagonal(dim1=1, dim2=2)), atol=1e-9, rtol=0)


def test_every_weight_of_the_model_has_one_place() -> None:
    model = small_model()
    optimiser = Optimiser(model.named_parameters(), RATES)
    inside = [parameter for group in optimiser.matrices for parameter in group]
    outside = [parameter for group in optimiser.adam.param_groups for parameter in group["params"]]
    assert len(inside) + len(outside) == len(list(model.parameters()))
    assert {id(p) for p in inside} | {id(p) for p in outside} == {id(p) for p in model.parameters()}


def test_the_rate_scales_the_update() -> None:
    steps = []
    for factor in (1.0, 0.5):
        weight = nn.Parameter(torch.zeros(6, 6))
        weight.grad = torch.eye(6)
        Optimiser([("q_proj.weight", weight)], RATES).step(factor)
        steps.append(weight.detach().clone())
    torch.testing.assert_close(steps[0], 2 * steps[1])


def test_rates_out_of_range_are_refused() -> None:
    with pytest.raises(BadTraining, match="matrices=-1"):
        Rates(matrices=-1, embeddings=0.1, others=0.1, decay=0.0).check()
    with pytest.raises(BadTraining, match="momentum=1"):
        Rates(matrices=0.1, embeddings=0.1, others=0.1, decay=0.0, momentum=1.0).check()
    with pytest.raises(BadTraining, match="slowed="):
        Rates(matrices=0.1, embeddings=0.1, others=0.1, decay=0.0, slowed=("q", 0.0)).check()


def test_a_part_may_learn_slower() -> None:
    """Matrices of one shape and vectors, some of them at a tenth of the rates."""
    rates = replace(RATES, slowed=("inner", 0.1), decay=0.0)
    weights = {name: nn.Parameter(torch.zeros(6, 6)) for name in ("outer.a", "inner.a")}
    weights |= {name: nn.Parameter(torch.zeros(6)) for name in ("outer.b", "inner.b")}
    for weight in weights.values():
        weight.grad = torch.eye(6) if weight.ndim == 2 else torch.ones(6)
    Optimiser(weights.items(), rates).step(1.0)
    for part in "ab":
        torch.testing.assert_close(weights[f"outer.{part}"], 10 * weights[f"inner.{part}"])


def test_weights_outside_the_loss_stay() -> None:
    """Also where the rates take something off every matrix."""
    weight = nn.Parameter(torch.ones(4, 4))
    Optimiser([("a", weight)], replace(RATES, decay=0.5)).step(1.0)
    assert torch.equal(weight, torch.ones(4, 4))
