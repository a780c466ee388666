"""The drafter's structure for the real sizes, its clustered head, and what it reads of a cache."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gemcut.checkpoint.drafter_section import drafter_config_json, read_drafter_config
from gemcut.family import family
from gemcut.model.drafter import ClusteredHead, Drafter, WholeHead, draft_view
from gemcut.model.gemma4 import Gemma4
from gemcut.model.layer_plan import layers_read_by_drafter
from gemcut.model.step import PlainCache, next_step
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


@pytest.fixture(scope="module")
def target() -> Gemma4:
    model = Gemma4(model_config(EDGE)).requires_grad_(False)
    fill(model, seed=0)
    return model


def hold(model: Gemma4, ids: Tensor, cache: PlainCache) -> None:
    model(model.embed(ids), next_step(cache, len(ids), None))


@pytest.mark.parametrize("length", [1, 23, 24, 25, 60])
def test_it_stands_behind_the_tokens_held_and_sees_what_the_window_shows(target: Gemma4, length: int) -> None:
    cache = PlainCache(EDGE, 80, torch.device("cpu"))
    hold(target, torch.arange(20, 20 + length), cache)
    seen, step = draft_view(cache)
    assert step.positions.tolist() == [length]
    assert len(seen[FULL][0]) == length
    assert len(seen[SLIDING][0]) == min(length, EDGE.sliding_window - 1)


@pytest.mark.parametrize("length", [10, 22, 24, 30, 47])
def test_what_was_taken_back_is_not_seen(target: Gemma4, length: int) -> None:
    plain, other = (PlainCache(EDGE, 80, torch.device("cpu"), revocable=5) for _ in range(2))
    ids = torch.arange(20, 20 + length)
    hold(target, ids, plain)
    hold(target, ids, other)
    hold(target, torch.arange(5), other)
    other.take_back(5)
    for kind, keys_values in draft_view(plain)[0].items():
        for want, got in zip(keys_values, draft_view(other)[0][kind], strict=True):
            torch.testing.assert_close(got, want, atol=0, rtol=0)


def test_the_config_of_a_drafter_says_nothing_of_senses() -> None:
    assert not [key for key in drafter_config_json(drafter_config("e2b")) if key.endswith("token_id")]
