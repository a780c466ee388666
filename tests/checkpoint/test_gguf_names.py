"""What llama.cpp calls tensors."""

from pathlib import Path

import pytest

from gemcut.checkpoint.gguf_names import IN_LAYER, WHOLE, gguf_name, hub_name
from gemcut.errors import BadOption
from gemcut.model.gemma4 import Gemma4
from tests.quant.models import TEXTS, config_of


@pytest.mark.parametrize("text", TEXTS)
def test_every_tensor_of_a_model_has_a_name_of_its_own(text: str) -> None:
    names = [name for name, _ in Gemma4(config_of(TEXTS[text])).named_parameters()]
    theirs = [gguf_name(name) for name in names]
    assert len(set(theirs)) == len(names)
    assert [hub_name(name) for name in theirs] == names


@pytest.mark.parametrize("size", ["E2B", "12B", "26B-A4B"])
def test_every_tensor_on_the_hub_has_a_name(size: str, shared: Path) -> None:
    lines = (shared / f"facts/checkpoint_keys/gemma-4-{size}-it.txt").read_text().splitlines()
    names = [line.split("\t")[0] for line in lines if line.startswith("model.language_model.")]
    assert [hub_name(gguf_name(name)) for name in names] == names


def test_names_are_those_of_llama_cpp() -> None:
    """A few that are easily mixed up, as conversion/gemma.py of llama.cpp writes them."""
    layer = "model.language_model.layers.3."
    assert gguf_name(f"{layer}pre_feedforward_layernorm.weight") == "blk.3.ffn_norm.weight"
    assert gguf_name(f"{layer}post_attention_layernorm.weight") == "blk.3.post_attention_norm.weight"
    assert gguf_name(f"{layer}router.scale") == "blk.3.ffn_gate_inp.scale"
    assert gguf_name(f"{layer}router.per_expert_scale") == "blk.3.ffn_down_exps.scale"
    assert gguf_name(f"{layer}layer_scalar") == "blk.3.layer_output_scale.weight"
    assert gguf_name("model.language_model.embed_tokens_per_layer.weight") == "per_layer_token_embd.weight"
    assert len(IN_LAYER) + len(WHOLE) == 30


def test_other_tensors_have_no_name() -> None:
    for name in ("blk.0.attn_sinks.weight", "v.blk.0.attn_q.weight", "blk.x.attn_q.weight", "mm.0.weight"):
        assert hub_name(name) is None
    with pytest.raises(BadOption, match="has no place for the tensor model.language_model.layers.0.extra"):
        gguf_name("model.language_model.layers.0.extra")
