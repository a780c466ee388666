"""config.json of drafters: the hub's read, ours written and read, and what is wrong with bad ones."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gemcut.checkpoint.config_file import read_config
from gemcut.checkpoint.drafter_section import drafter_config_json, read_drafter_config
from gemcut.config import ClustersConfig, DrafterConfig
from gemcut.errors import BadConfig
from tests.parity.tiny_drafter import drafter_config

CONFIGS = {size: drafter_config(size) for size in ("e2b", "26b")}


def write(folder: Path, values: dict[str, Any]) -> Path:
    (folder / "config.json").write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize("size", CONFIGS)
def test_what_we_write_reads_back(size: str, tmp_path: Path) -> None:
    config = CONFIGS[size]
    assert read_drafter_config(write(tmp_path, drafter_config_json(config))) == config


@pytest.mark.parametrize("size", CONFIGS)
def test_transformers_understands_what_we_write_and_we_what_it_writes_back(size: str, tmp_path: Path) -> None:
    from transformers import Gemma4AssistantConfig

    values = drafter_config_json(CONFIGS[size])
    del values["model_type"]
    Gemma4AssistantConfig(**values).save_pretrained(tmp_path)
    assert read_drafter_config(tmp_path) == CONFIGS[size]


@pytest.mark.parametrize(
    ("repository", "backbone", "heads", "clusters"),
    [
        ("E2B", 1536, (4, 1, 1), ClustersConfig(num_centroids=2048, centroid_intermediate_top_k=32)),
        ("E4B", 2560, (4, 2, 2), ClustersConfig(num_centroids=2048, centroid_intermediate_top_k=32)),
        ("26B-A4B", 2816, (16, 8, 2), None),
        ("31B", 5376, (32, 16, 4), None),
    ],
)
def test_the_hub_s_files_are_read_whole(
    repository: str,
    backbone: int,
    heads: tuple[int, int, int],
    clusters: ClustersConfig | None,
    shared: Path,
    tmp_path: Path,
) -> None:
    source = shared / f"facts/configs/gemma-4-{repository}-it-assistant.config.json"
    (tmp_path / "config.json").write_text(source.read_text())
    config = read_drafter_config(tmp_path)
    text = config.text
    assert (config.backbone_hidden_size, config.clusters, config.dtype) == (backbone, clusters, "bfloat16")
    assert (
        text.num_attention_heads,
        text.num_key_value_heads,
        text.num_global_key_value_heads,
    ) == heads
    assert text.layer_types == ("sliding_attention",) * 3 + ("full_attention",)
    assert read_drafter_config(write(tmp_path, drafter_config_json(config))) == config


def test_the_12b_s_kind_may_leave_out_what_it_does_not_have(tmp_path: Path) -> None:
    values = drafter_config_json(CONFIGS["26b"]) | {"model_type": "gemma4_unified_assistant"}
    text = values["text_config"] | {"model_type": "gemma4_unified_text"}
    for key in ("enable_moe_block", "hidden_size_per_layer_input", "vocab_size_per_layer_input"):
        del text[key]
    want = CONFIGS["26b"]
    want = replace(want, text=replace(want.text, vocab_size_per_layer_input=want.text.vocab_size))
    assert read_drafter_config(write(tmp_path, values | {"text_config": text})) == want


BAD: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda v: v.update(model_type="gemma4"), "model_type is 'gemma4'"),
    (lambda v: v.update(num_centroids=7), "num_centroids is 7 and must divide the vocabulary of 320"),
    (lambda v: v.update(centroid_intermediate_top_k=17), "top_k is 17 and there are 16 clusters"),
    (lambda v: v.pop("backbone_hidden_size"), "backbone_hidden_size is missing"),
    (lambda v: v.update(draft_length=4), "draft_length is a key that gemcut does not know"),
    (lambda v: v["text_config"].update(num_kv_shared_layers=0), "shared_layers is 0, and all 4 layers"),
    (lambda v: v["text_config"].update(final_logit_softcapping=30.0), "final_logit_softcapping is set"),
    (lambda v: v["text_config"].update(use_double_wide_mlp=True), "use_double_wide_mlp is set"),
    (lambda v: v["text_config"].pop("final_logit_softcapping"), "final_logit_softcapping is missing"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message for _, message in BAD])
def test_a_bad_value_is_named(change: Callable[[dict[str, Any]], Any], message: str, tmp_path: Path) -> None:
    values = drafter_config_json(CONFIGS["e2b"])
    change(values)
    with pytest.raises(BadConfig, match=message):
        read_drafter_config(write(tmp_path, values))


def test_a_drafter_is_no_whole_model(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="model_type is 'gemma4_assistant'"):
        read_config(write(tmp_path, drafter_config_json(CONFIGS["e2b"])))


def test_a_whole_model_with_no_keys_of_its_own_is_refused(tmp_path: Path) -> None:
    config: DrafterConfig = CONFIGS["e2b"]
    values = drafter_config_json(config)
    decoder = values["text_config"] | {"dtype": "float32", "model_type": "gemma4_text"}
    with pytest.raises(BadConfig, match="num_kv_shared_layers leaves no layer with K and V of its own"):
        read_config(write(tmp_path, decoder))
