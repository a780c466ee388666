"""The parity tests catch small mistakes: each one here moves the logits far beyond their tolerance."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import whole_sequences
from tests.parity.tiny import TINY, model_config, pair

TOLERANCE = 2e-4
Mutation = Callable[[Gemma4], None]


def neutral(suffix: str) -> Mutation:
    """Every parameter of that name becomes 1, as if it were forgotten."""

    def mutate(model: Gemma4) -> None:
        for name, parameter in model.named_parameters():
            if name.endswith(suffix):
                parameter.fill_(1.0)

    return mutate


def config(**changes: object) -> Mutation:
    """Another number in the config, read again at construction."""

    def mutate(model: Gemma4) -> None:
        text = replace(model.config.text, **changes)
        other = Gemma4(model_config(text))
        other.load_state_dict(model.state_dict())
        model.__dict__.update(other.requires_grad_(False).__dict__)

    return mutate


def router_reads_the_normed_rows(model: Gemma4) -> None:
    for layer in model.model.language_model.layers:
        plain = layer.router.forward
        norm = layer.pre_feedforward_layernorm_2
        layer.router.forward = lambda x, step, plain=plain, norm=norm: plain(norm(x), step)


def values_with_the_weight_of_keys(model: Gemma4) -> None:
    for layer in model.model.language_model.layers:
        attend = layer.self_attn
        if attend.spec.owns_kv:
            plain = attend.keys_values

            def keys_values(x, rotations, step, plain=plain, weight=attend.k_norm.weight):  # type: ignore[no-untyped-def]
                k, v = plain(x, rotations, step)
                return k, v * weight

            attend.keys_values = keys_values


MUTANTS: dict[str, tuple[str, Mutation]] = {
    "layer_scalar is dropped": ("31b", neutral("layer_scalar")),
    "q_norm has no weight": ("31b", neutral("q_norm.weight")),
    "the window is one token too long": ("31b", config(sliding_window=25)),
    "the window is one token too short": ("e2b", config(sliding_window=23)),
    "the router reads normed rows": ("26b", router_reads_the_normed_rows),
    "expert scales are dropped": ("26b", neutral("per_expert_scale")),
    "one expert fewer is asked": (
        "26b",
        config(experts=replace(TINY["26b"].experts, top_k_experts=3)),
    ),
    "values get the weight of the keys' norm": ("31b", values_with_the_weight_of_keys),
    "the cap is off": ("31b", config(final_logit_softcapping=1e9)),
    "proportional rotation is divided by its own width": (
        "31b",
        config(global_rope=replace(TINY["31b"].global_rope, theta=1_000_000.0**0.5)),
    ),
    "the per-layer norm is dropped": ("e2b", neutral("per_layer_projection_norm.weight")),
    "the norm after the per-layer input is dropped": ("e2b", neutral("post_per_layer_input_norm.weight")),
}


def distance(mutate: Mutation | None, size: str) -> float:
    text = TINY[size]
    ours, theirs = pair(text)
    if mutate is not None:
        mutate(ours)
    ids = torch.randint(5, text.vocab_size, (1, 80), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        step = whole_sequences([80], ours.config.text, torch.device("cpu"))
        got = ours.logits(ours(ours.embed(ids[0]), step))
        return float((got - theirs(ids).logits[0]).abs().max())


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name: str) -> None:
    size, mutate = MUTANTS[name]
    assert distance(None, size) < TOLERANCE
    assert distance(mutate, size) > 10 * TOLERANCE
