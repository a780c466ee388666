"""The decoder's numbers in both layouts, and what is wrong with bad ones."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gemcut.checkpoint.section import Section
from gemcut.checkpoint.text_section import read_text, text_json
from gemcut.config import Rope, TextConfig
from gemcut.errors import BadConfig
from tests.checkpoint.models import BIG_TEXT, EDGE_TEXT, EXPERTS_TEXT

TEXTS = {
    "edge": EDGE_TEXT,
    "big": BIG_TEXT,
    "experts": EXPERTS_TEXT,
    "other global heads without K = V": replace(EDGE_TEXT, num_global_key_value_heads=4),
    "one kind of head": replace(EDGE_TEXT, global_head_dim=8),
    "all rotated": replace(EDGE_TEXT, global_rope=Rope(theta=5e5, rotated=1.0)),
    "part rotated in sliding layers": replace(EDGE_TEXT, local_rope=Rope(theta=5e5, rotated=0.5)),
    "logits that are not capped": replace(EDGE_TEXT, final_logit_softcapping=None),
    "only full attention": replace(EDGE_TEXT, layer_types=("full_attention",), num_kv_shared_layers=0),
}
Change = Callable[[dict[str, Any]], Any]


def read(values: dict[str, Any], *, unified: bool = False) -> TextConfig:
    section = Section(Path("config.json"), "text_config.", values)
    section.one_of("model_type", "gemma4_text", "gemma4_unified_text")
    config = read_text(section, unified=unified)
    section.close()
    return config


@pytest.mark.parametrize("name", TEXTS)
def test_what_we_write_reads_back(name: str) -> None:
    assert read(text_json(TEXTS[name], "gemma4_text")) == TEXTS[name]


@pytest.mark.parametrize("name", TEXTS)
def test_transformers_understands_what_we_write_and_we_what_it_writes_back(name: str, tmp_path: Path) -> None:
    from transformers import Gemma4TextConfig

    text = TEXTS[name]
    theirs = Gemma4TextConfig(**text_json(text, "gemma4_text"))
    kinds = {
        kind: (theirs.per_layer_config[index].head_dim, theirs.per_layer_config[index].num_key_value_heads)
        for index, kind in enumerate(text.layer_types)
    }
    assert kinds["full_attention"] == (text.global_head_dim, text.num_global_key_value_heads)
    assert kinds.get("sliding_attention", (8, 2)) == (text.head_dim, text.num_key_value_heads)
    theirs.save_pretrained(tmp_path)
    values = Section.read(tmp_path / "config.json").left
    assert "global_head_dim" not in values
    assert read(values) == text


def test_global_heads_count_only_where_keys_are_values() -> None:
    values = text_json(EDGE_TEXT, "gemma4_text") | {"num_global_key_value_heads": 1}
    assert read(values).num_global_key_value_heads == EDGE_TEXT.num_key_value_heads


def test_the_12b_may_leave_out_what_it_does_not_have() -> None:
    values = text_json(BIG_TEXT, "gemma4_unified_text")
    for key in ("enable_moe_block", "num_experts", "top_k_experts", "moe_intermediate_size"):
        del values[key]
    del values["hidden_size_per_layer_input"], values["vocab_size_per_layer_input"]
    expected = replace(BIG_TEXT, vocab_size_per_layer_input=BIG_TEXT.vocab_size)
    assert read(values, unified=True) == expected


def test_the_first_of_several_stop_ids_is_the_decoders() -> None:
    assert read(text_json(EDGE_TEXT, "gemma4_text") | {"eos_token_id": [3, 1]}).eos_token_id == 3


def test_marks_that_change_nothing_are_read_over() -> None:
    marks = {"use_cache": False, "transformers_version": "6", "dtype": None, "expert_intermediate_size": None}
    assert read(text_json(EDGE_TEXT, "gemma4_text") | marks) == EDGE_TEXT


@pytest.mark.parametrize(
    "key", sorted(set(text_json(EDGE_TEXT, "")) - {"attention_bias", "attention_dropout"})
)
def test_every_key_is_needed_or_says_why_not(key: str) -> None:
    values = text_json(EDGE_TEXT, "gemma4_text")
    del values[key]
    if key in ("tie_word_embeddings", "use_cache", "moe_intermediate_size", "num_experts", "top_k_experts"):
        assert read(values) == EDGE_TEXT
    else:
        with pytest.raises(BadConfig, match=f"text_config.{key} is missing"):
            read(values)


BAD: list[tuple[TextConfig, Change, str]] = [
    (EDGE_TEXT, lambda v: v.update(attention_bias=True), "attention_bias is True"),
    (EDGE_TEXT, lambda v: v.update(attention_dropout=0.1), "attention_dropout is 0.1"),
    (EDGE_TEXT, lambda v: v.update(tie_word_embeddings=False), "tie_word_embeddings is False"),
    (EDGE_TEXT, lambda v: v.update(hidden_activation="relu"), "hidden_activation is 'relu'"),
    (EDGE_TEXT, lambda v: v.update(expert_intermediate_size=7), "expert_intermediate_size is 7"),
    (EDGE_TEXT, lambda v: v.update(is_encoder_decoder=True), "is_encoder_decoder is True"),
    (
        EDGE_TEXT,
        lambda v: v.update(use_bidirectional_attention="all"),
        "use_bidirectional_attention is 'all'",
    ),
    (EDGE_TEXT, lambda v: v.update(final_logit_softcapping=0), "final_logit_softcapping is 0"),
    (EDGE_TEXT, lambda v: v.update(layer_types="full_attention"), "layer_types is 'full_attention'"),
    (EDGE_TEXT, lambda v: v["layer_types"].append("full_attention"), "layer_types names 5 layers .* is 4"),
    (EDGE_TEXT, lambda v: v["layer_types"].__setitem__(0, "chunked"), "layer_types is .*'chunked'"),
    (EDGE_TEXT, lambda v: v["layer_types"].reverse(), "layer_types ends in 'sliding_attention'"),
    (EDGE_TEXT, lambda v: v.update(head_dim=7), "head_dim is 7 and must be even"),
    (EDGE_TEXT, lambda v: v.update(global_head_dim=7), "global_head_dim is 7 and must be even"),
    (EDGE_TEXT, lambda v: v.update(num_key_value_heads=3), "num_attention_heads is 4 .* multiple of 3"),
    (EDGE_TEXT, lambda v: v.update(num_kv_shared_layers=3), "shared_layers is 3, .* no 'full_attention'"),
    (EDGE_TEXT, lambda v: v.update(num_kv_shared_layers=9), "shared_layers is 9, .* no 'full_attention'"),
    (EDGE_TEXT, lambda v: v.update(eos_token_id=64), "eos_token_id is 64 and the vocabulary has 64"),
    (EDGE_TEXT, lambda v: v.update(pad_token_id=None), "pad_token_id is None"),
    (EDGE_TEXT, lambda v: v.update(rope_parameters=None), "rope_parameters is None"),
    (EDGE_TEXT, lambda v: v["rope_parameters"].update(yarn={}), r"rope_parameters\.yarn is a key"),
    (EDGE_TEXT, lambda v: v["rope_parameters"].pop("full_attention"), "full_attention is missing"),
    (EDGE_TEXT, lambda v: v["rope_parameters"]["full_attention"].update(rope_type="yarn"), "is 'yarn'"),
    (EDGE_TEXT, lambda v: v["rope_parameters"]["full_attention"].update(factor=2.0), "factor is 2.0"),
    (EDGE_TEXT, lambda v: v["rope_parameters"]["full_attention"].update(partial_rotary_factor=2), "is 2.0"),
    (
        EDGE_TEXT,
        lambda v: v["rope_parameters"]["sliding_attention"].update(beta=2),
        r"attention\.beta is a key",
    ),
    (
        EDGE_TEXT,
        lambda v: v["rope_parameters"]["sliding_attention"].update(partial_rotary_factor=0.5),
        "is 0.5",
    ),
    (EXPERTS_TEXT, lambda v: v.update(top_k_experts=9), "top_k_experts is 9 and there are 8"),
    (EXPERTS_TEXT, lambda v: v.update(moe_intermediate_size=None), "moe_intermediate_size is None"),
    (EDGE_TEXT, lambda v: v.update(chunk_size=3), "chunk_size is a key that gemcut does not know"),
]


@pytest.mark.parametrize(("text", "change", "message"), BAD, ids=[message for _, _, message in BAD])
def test_a_bad_value_is_named(text: TextConfig, change: Change, message: str) -> None:
    values = text_json(text, "gemma4_text")
    change(values)
    with pytest.raises(BadConfig, match=rf"^config.json: text_config\..*{message}"):
        read(values)


def per_layer(**layers: Any) -> dict[str, Any]:
    values = text_json(BIG_TEXT, "gemma4_text")
    del values["global_head_dim"], values["num_global_key_value_heads"]
    return values | {"per_layer_config": layers}


def test_layers_that_per_layer_config_leaves_out_are_like_the_others() -> None:
    config = read(per_layer())
    assert (config.global_head_dim, config.num_global_key_value_heads) == (config.head_dim, 2)


def test_layers_may_be_numbered_with_leading_zeros() -> None:
    layer = {"head_dim": 16, "num_key_value_heads": 1}
    assert read(per_layer(**{"01": layer, "3": layer})) == BIG_TEXT


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"0": {"head_dim": 16}}, "per_layer_config.0 is no layer of kind 'full_attention'"),
        ({"7": {"head_dim": 16}}, "per_layer_config.7 is no layer of kind 'full_attention'"),
        ({"x": {"head_dim": 16}}, "per_layer_config.x is no layer of kind 'full_attention'"),
        ({"1": {"head_dim": 16}}, "gives the 'full_attention' layers different widths"),
        ({"1": {"skip": ["mlp"]}}, "per_layer_config.1.skip is a key that gemcut does not know"),
        ({"1": {"head_dim": 15}}, "per_layer_config.1.head_dim is 15 and must be even"),
    ],
)
def test_layers_that_differ_in_other_ways_are_refused(layers: dict[str, Any], message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        read(per_layer(**layers))


def test_the_two_layouts_may_not_contradict_each_other() -> None:
    layer = {"head_dim": 16, "num_key_value_heads": 1}
    values = per_layer(**{"1": layer, "3": layer}) | {"global_head_dim": 32}
    with pytest.raises(BadConfig, match="global_head_dim is 32, and gemcut computes only with 16"):
        read(values)
