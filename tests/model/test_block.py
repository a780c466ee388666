"""A layer in native code gives what its parts give, one by one."""

import copy
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from gemcut.config import BlockForm, ExpertsConfig
from gemcut.kernels.blocks import to_blocks
from gemcut.kernels.native_layer import NativeLayer, Stored
from gemcut.model import block as block_module
from gemcut.model.experts import Experts
from gemcut.model.gemma4 import Gemma4
from gemcut.model.projection import Linear
from gemcut.model.step import PlainCache, Step, next_step, whole_sequences
from gemcut.quant.modules import BlockExperts, use_blocks
from tests.parity.tiny import TINY, fill, model_config

FORMS: tuple[BlockForm | None, ...] = (None, "int8", "int4")
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def a_model(size: str, form: BlockForm | None) -> Gemma4:
    """In bfloat16, its projections in blocks where they fit into them."""
    model = Gemma4(model_config(TINY[size])).requires_grad_(False)
    fill(model, seed=0)
    model = model.to(torch.bfloat16)
    if form is None:
        return model
    plain = {
        f"{name}.weight": module.weight
        for name, module in model.named_modules()
        if isinstance(module, Linear) and module.weight.shape[1] % 32 == 0
    }
    assert plain
    use_blocks(model, dict.fromkeys(plain, form))
    for name, weight in plain.items():
        model.get_submodule(name.rpartition(".")[0]).register_buffer("weight", to_blocks(weight, form))
    return model


def hidden(model: Gemma4, step: Step, rows: int) -> Tensor:
    ids = torch.arange(5, 5 + rows)
    found: Tensor = model(model.embed(ids), step)
    return found


def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on no layer is in native code as a whole, but its parts are."""
    monkeypatch.setattr(block_module, "native_for_layer", lambda x: None)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of each layer that native code took as a whole."""
    found: list[int] = []
    after = NativeLayer.after

    def counted(self: NativeLayer, attended: Tensor, x: Tensor, per_layer: Tensor | None) -> Tensor:
        found.append(len(x))
        return after(self, attended, x, per_layer)

    monkeypatch.setattr(NativeLayer, "after", counted)
    return found


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", ["e2b", "e4b", "31b"])
@pytest.mark.parametrize("rows", [1, 5, 32])
def test_a_layer_as_a_whole_gives_the_same_bits(
    size: str, form: BlockForm | None, rows: int, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gemcut.kernels.linear.multiplies_bfloat16", lambda: False)
    model = a_model(size, form)
    whole = hidden(model, whole_sequences([rows], model.config.text, CPU), rows)
    assert calls == [rows] * len(model.model.language_model.layers)
    in_parts(monkeypatch)
    assert hidden(model, whole_sequences([rows], model.config.text, CPU), rows).equal(whole)


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("size", ["e2b", "31b"])
def test_behind_a_cache_too(size: str, calls: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    model, found = a_model(size, "int8"), []
    for _ in range(2):
        cache = PlainCache(model.config.text, 64, CPU)
        hidden(model, next_step(cache, 40, None), 40)
        found.append(hidden(model, next_step(cache, 1, None), 1))
        in_parts(monkeypatch)
    assert set(calls) == {1}
    assert found[0].equal(found[1])


@pytest.mark.parametrize(("fast", "rows"), [(False, 33), (True, 9)])
def test_more_rows_go_part_by_part(
    fast: bool, rows: int, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where torch multiplies bfloat16 it is the quicker for more than a few."""
    monkeypatch.setattr("gemcut.kernels.linear.multiplies_bfloat16", lambda: fast)
    model = a_model("e2b", None)
    hidden(model, whole_sequences([rows], model.config.text, CPU), rows)
    assert not calls


def test_experts_go_part_by_part(calls: list[int]) -> None:
    model = a_model("26b", None)
    hidden(model, whole_sequences([1], model.config.text, CPU), 1)
    assert not calls


class Doubled(nn.Module):
    """A projection that is more than its weight."""

    def __init__(self, plain: Linear) -> None:
        super().__init__()
        self.plain = plain

    def forward(self, x: Tensor, step: Step) -> Tensor:
        return 2 * self.plain(x, step)

    def stored(self) -> Stored | None:
        return None


@pytest.mark.usefixtures("built")
def test_a_layer_with_a_projection_of_another_kind_goes_part_by_part(calls: list[int]) -> None:
    model = a_model("e2b", None)
    layer = model.model.language_model.layers[1]
    layer.mlp.up_proj = Doubled(layer.mlp.up_proj)
    hidden(model, whole_sequences([1], model.config.text, CPU), 1)
    assert len(calls) == len(model.model.language_model.layers) - 1


@pytest.mark.usefixtures("built")
def test_a_model_that_was_changed_moved_or_copied_gives_what_it_is_now() -> None:
    model = a_model("e2b", None)
    step = whole_sequences([1], model.config.text, CPU)
    before = hidden(model, step, 1)
    twin = copy.deepcopy(model)
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()  # as a move to another device and back does
    assert hidden(model, step, 1).equal(before)
    for layer in model.model.language_model.layers:
        layer.mlp.up_proj.weight.zero_()
    changed = hidden(model, step, 1)
    assert not changed.equal(before)
    assert hidden(twin, step, 1).equal(before)
    assert hidden(model.float(), step, 1).dtype == torch.float32


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("form", FORMS)
def test_experts_of_one_row_give_the_same_bits_in_one_call(
    form: BlockForm | None,
) -> None:
    """As with a row more, which goes expert by expert."""
    config = ExpertsConfig(num_experts=16, top_k_experts=4, moe_intermediate_size=64)
    generator = torch.Generator().manual_seed(0)
    experts: Experts | BlockExperts = Experts(replace(TINY["26b"], hidden_size=96), config)
    for parameter in experts.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator).mul(0.1).bfloat16()
    if form is not None:
        blocks = BlockExperts(experts, {"gate_up_proj": form, "down_proj": form})
        for part in ("gate_up_proj", "down_proj"):
            blocks.register_buffer(part, to_blocks(getattr(experts, part), form))
        experts = blocks
    x = torch.randn(1, 96, generator=generator).bfloat16()
    weights, chosen = torch.rand(1, 4, generator=generator), torch.tensor([[15, 0, 7, 3]])
    one_call = experts(x, weights, chosen)
    two = experts(torch.cat((x, x)), torch.cat((weights, weights)), torch.cat((chosen, chosen)))
    assert one_call.equal(two[:1])
    assert one_call.abs().max() > 0.1
