"""Parts with blocks against parts with the values that the blocks stand for."""

import pytest
import torch
from torch import Tensor, nn

from gemcut.config import BlockForm
from gemcut.kernels.blocks import from_blocks, to_blocks
from gemcut.model.embedding import EmbeddingTable
from gemcut.model.experts import Experts
from gemcut.model.projection import Linear
from gemcut.model.step import whole_sequences
from gemcut.quant.modules import BlockExperts, BlockLinear, BlockTable, use_blocks
from tests.quant.models import EXPERTS, ODD_EXPERTS

FORMS: tuple[BlockForm, ...] = ("int4", "int8")
STEP = whole_sequences([5], EXPERTS, torch.device("cpu"))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def in_blocks(plain: nn.Module, forms: dict[str, BlockForm]) -> nn.Module:
    """The part of a model, on the meta device, whose tensors of these names are in blocks."""
    model = nn.Module()
    model.part = plain.to("meta")
    use_blocks(model, {f"part.{name}": form for name, form in forms.items()})
    return model.part


def shared(plain: nn.Module, forms: dict[str, BlockForm]) -> nn.Module:
    """The part with blocks that has the same weights as the plain one, which is given rounded ones."""
    stored = {}
    with torch.no_grad():
        for seed, (name, parameter) in enumerate(plain.named_parameters()):
            weight = noise(*parameter.shape, seed=seed)
            if name in forms:
                stored[name] = to_blocks(weight, forms[name])
                weight = from_blocks(stored[name], forms[name], torch.float32)
            else:
                stored[name] = weight
            parameter.copy_(weight)
    values = {name: parameter.detach().clone() for name, parameter in plain.named_parameters()}
    part = in_blocks(plain, forms)
    part.load_state_dict(stored, strict=True, assign=True)
    plain.load_state_dict(values, assign=True)
    return part


@pytest.mark.parametrize("form", FORMS)
def test_a_projection_is_that_of_the_values(form: BlockForm) -> None:
    plain = Linear(96, 40)
    part = shared(plain, {"weight": form})
    assert isinstance(part, BlockLinear)
    x = noise(5, 96, seed=9)
    torch.testing.assert_close(part(x, STEP), plain(x, STEP))
    torch.testing.assert_close(part.product(x), plain(x, STEP))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_table_gives_the_same_rows_and_products(form: BlockForm, dtype: torch.dtype) -> None:
    plain = EmbeddingTable(50, 64, 64**0.5)
    part = shared(plain, {"weight": form})
    assert isinstance(part, BlockTable)
    ids, x = torch.tensor([49, 0, 3, 3]), noise(2, 64, seed=9)
    torch.testing.assert_close(part(ids, dtype), plain(ids, dtype), atol=0, rtol=0)
    torch.testing.assert_close(part.product(x), plain.product(x))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("parts", [("gate_up_proj", "down_proj"), ("gate_up_proj",), ("down_proj",)])
def test_experts_give_the_same_sums(form: BlockForm, parts: tuple[str, ...]) -> None:
    assert EXPERTS.experts is not None
    plain = Experts(EXPERTS, EXPERTS.experts)
    part = shared(plain, dict.fromkeys(parts, form))
    assert isinstance(part, BlockExperts)
    x = noise(6, EXPERTS.hidden_size, seed=9)
    weights = torch.rand(6, 2, generator=torch.Generator().manual_seed(1))
    chosen = torch.tensor([[0, 1], [3, 2], [1, 3], [0, 3], [2, 1], [0, 2]])
    torch.testing.assert_close(part(x, weights, chosen), plain(x, weights, chosen))


def test_names_stay_and_what_is_not_named_stays_plain() -> None:
    assert ODD_EXPERTS.experts is not None
    plain = Experts(ODD_EXPERTS, ODD_EXPERTS.experts)
    part = in_blocks(plain, {"gate_up_proj": "int4"})
    assert {name: tensor.dtype for name, tensor in part.state_dict().items()} == {
        "gate_up_proj": torch.uint8,
        "down_proj": torch.float32,
    }
