"""The drafter's structure for the real sizes, its clustered head, and what it reads."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gemcut.checkpoint.drafter_section import drafter_config_json, read_drafter_config
from gemcut.family import family
from gemcut.model.drafter import ClusteredHead, Drafter, FreshKeys, WholeHead
from gemcut.model.gemma4 import Gemma4
from gemcut.model.layer_plan import layers_read_by_drafter
from gemcut.model.step import whole_sequences
from tests.parity.tiny import EDGE, FULL, SLIDING, fill, model_config
from tests.parity.tiny_drafter import CLUSTERS, drafter_config

SIZES = {"e2b": "E2B", "e4b": "E4B", "12b": "12B", "26b": "26B-A4B", "31b": "31B"}
READ = {"e2b": (13, 14), "e4b": (22, 23), "12b": (46, 47), "26b": (28, 29), "31b": (58, 59)}


def shapes(drafter: Drafter) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in drafter.state_dict().items()}


@pytest.mark.parametrize("size", SIZES)
def test_names_and_shapes_equal_the_hub_s(size: str, shared: Path, tmp_path: Path) -> None:
    lines = (
        (shared / f"facts/checkpoint_keys/gemma-4-{SIZES[size]}-it-assistant.txt").read_text().splitlines()
    )
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    of_config = "26B-A4B" if size == "12b" else SIZES[size]  # the 12B's config.json is not known: 26B's width
    source = shared / f"facts/configs/gemma-4-{of_config}-it-assistant.config.json"
    (tmp_path / "config.json").write_text(source.read_text())
    config = read_drafter_config(tmp_path)
    if size == "12b":
        config = replace(config, backbone_hidden_size=3840)
    with torch.device("meta"):
        drafter = Drafter(config)
    assert shapes(drafter) == {name: tuple(json.loads(shape)) for name, shape, _ in rows}


@pytest.mark.parametrize("size", SIZES)
def test_it_reads_the_target_s_last_layers_with_keys_of_their_own(size: str) -> None:
    sliding, full = READ[size]
    assert layers_read_by_drafter(family(size).size.text) == {SLIDING: sliding, FULL: full}


def test_no_layer_of_it_takes_itself_for_an_owner_of_keys() -> None:
    """A target of few layers may have keys in a layer of the same index."""
    with torch.device("meta"):
        drafter = Drafter(drafter_config("e2b"))
    assert not any(spec.owns_kv for spec in drafter.model.plan)
    assert not any(".k_" in name or ".v_" in name for name in shapes(drafter))


@torch.no_grad()
def test_the_clustered_head_gives_the_logits_of_the_tokens_in_the_likeliest_clusters() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, hidden = (torch.randn(shape, generator=generator) for shape in ((320, 12), (5, 12)))
    head = ClusteredHead(CLUSTERS, 12, 320)
    head.centroids.weight.copy_(torch.randn(16, 12, generator=generator))
    head.token_ordering.copy_(torch.randperm(320, generator=generator))
    logits, ids = head(hidden, weight)
    whole, _ = WholeHead()(hidden, weight)
    torch.testing.assert_close(logits, whole.gather(1, ids))
    clusters = head.token_ordering.view(16, 20)
    best = (hidden @ head.centroids.weight.T).topk(3).indices
    for row in range(5):
        assert set(ids[row].tolist()) == set(clusters[best[row]].flatten().tolist())


@torch.no_grad()
def test_the_keys_of_a_step_are_those_of_the_layers_that_a_drafter_reads() -> None:
    """Each is the last of its kind that has keys: here layers 2 and 3 of 7, of which 3 share."""
    model = Gemma4(model_config(EDGE))
    fill(model, seed=0)
    fresh, ids = FreshKeys(), torch.arange(20, 29)
    step = replace(whole_sequences([9], EDGE, ids.device), writer=fresh)
    model(model.embed(ids), step)
    assert sorted(fresh.of_layers) == [0, 1, 2, 3]
    seen = fresh.seen(EDGE)
    assert seen[FULL] is fresh.of_layers[2]
    assert seen[SLIDING] is fresh.of_layers[3]
    assert len(seen[FULL][0]) == 9


def test_the_config_of_a_drafter_says_nothing_of_senses() -> None:
    assert not [key for key in drafter_config_json(drafter_config("e2b")) if key.endswith("token_id")]
