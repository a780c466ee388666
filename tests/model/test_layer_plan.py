"""Which layer is what, for the real sizes; names and shapes equal the hub's."""

import json
from pathlib import Path

import pytest
import torch

from gemcut.checkpoint.config_file import read_config
from gemcut.family import family
from gemcut.model.gemma4 import Gemma4
from gemcut.model.layer_plan import plan_layers, unused_tensors
from tests.parity.tiny import EDGE, model_config

SIZES = {"e2b": "E2B", "e4b": "E4B", "12b": "12B", "26b": "26B-A4B", "31b": "31B"}


@pytest.mark.parametrize("size", SIZES)
def test_names_and_shapes_equal_the_hub_s(size: str, shared: Path, tmp_path: Path) -> None:
    name = f"gemma-4-{SIZES[size]}-it"
    (tmp_path / "config.json").write_text((shared / f"facts/configs/{name}.config.json").read_text())
    config = read_config(tmp_path)
    with torch.device("meta"):
        model = Gemma4(config)
    ours = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    lines = (shared / f"facts/checkpoint_keys/{name}.txt").read_text().splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    theirs = {row[0]: tuple(json.loads(row[1])) for row in rows}
    tolerated = set(unused_tensors(config.text))
    assert ours == {name: shape for name, shape in theirs.items() if name not in tolerated}


def test_e2b_s_shared_layers_read_layers_13_and_14_and_are_twice_as_wide() -> None:
    plan = plan_layers(family("e2b").size.text)
    assert {spec.kv_layer for spec in plan[15:] if spec.kind == "sliding_attention"} == {13}
    assert {spec.kv_layer for spec in plan[15:] if spec.kind == "full_attention"} == {14}
    assert all(spec.owns_kv for spec in plan[:15])
    assert {spec.intermediate_size for spec in plan[:15]} == {6144}
    assert {spec.intermediate_size for spec in plan[15:]} == {12288}


def test_e4b_s_shared_layers_read_layers_22_and_23() -> None:
    plan = plan_layers(family("e4b").size.text)
    assert {spec.kv_layer for spec in plan[24:]} == {22, 23}
    assert {spec.intermediate_size for spec in plan} == {10240}


def test_31b_s_global_layers_have_no_v_proj_and_wide_heads() -> None:
    plan = plan_layers(family("31b").size.text)
    spec = plan[5]
    assert (spec.kind, spec.has_v_proj, spec.head_dim, spec.num_kv_heads) == ("full_attention", False, 512, 4)
    assert (plan[4].has_v_proj, plan[4].head_dim, plan[4].num_kv_heads) == (True, 256, 16)


def test_unused_tensors_are_the_keys_and_values_of_shared_layers_and_no_parameter_of_ours() -> None:
    with torch.device("meta"):
        names = {name for name, _ in Gemma4(model_config(EDGE)).named_parameters()}
    unused = unused_tensors(EDGE)
    assert not unused & names
    assert "model.language_model.layers.4.self_attn.k_proj.weight" in unused
    assert "model.language_model.layers.3.self_attn.k_proj.weight" in names
