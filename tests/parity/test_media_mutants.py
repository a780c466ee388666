"""The parity of images and sound catches small mistakes: each one here moves the logits far beyond 2e-4.

One mistake shows in 26B and 31B only: pooled values that are not scaled, since the norm behind the other
towers takes any scale away.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gemcut.engine.media_encoder import MediaEncoder
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import Step, image_blocks, same_image, whole_sequences
from gemcut.model.tower import ClippedLinear
from tests.parity.test_media import SEEN, TOKENS, cases_of, whole_pair
from tests.parity.test_mutants import TOLERANCE

Mutation = Callable[[Gemma4], None]
Stepped = Callable[[Gemma4, Tensor], Step]


def usual_step(model: Gemma4, ids: Tensor) -> Step:
    return whole_sequences([len(ids)], model.config.text, ids.device, model.image_blocks(ids))


def images_see_causally(model: Gemma4, ids: Tensor) -> Step:
    return whole_sequences([len(ids)], model.config.text, ids.device)


def images_see_both_ways(model: Gemma4, ids: Tensor) -> Step:
    blocks = image_blocks(torch.isin(ids, torch.tensor((TOKENS.image, TOKENS.video))))
    return whole_sequences([len(ids)], model.config.text, ids.device, blocks)


def images_see_both_ways_on_global_layers_too(model: Gemma4, ids: Tensor) -> Step:
    unlimited = replace(model.config.text, sliding_window=len(ids))
    whole = whole_sequences([len(ids)], unlimited, ids.device, model.image_blocks(ids))
    step = usual_step(model, ids)
    return replace(step, sights={**step.sights, "full_attention": whole.sights["sliding_attention"]})


def images_see_beyond_the_window(model: Gemma4, ids: Tensor) -> Step:
    step, blocks = usual_step(model, ids), model.image_blocks(ids)
    sliding = step.sights["sliding_attention"]
    assert blocks is not None
    assert sliding.mask is not None
    wider = replace(sliding, mask=sliding.mask | same_image(blocks, blocks))
    return replace(step, sights={**step.sights, "sliding_attention": wider})


def wrapped(part: str, method: str, change: Callable[..., Any]) -> Mutation:
    """`change` is called instead of a part's method, with the method and its arguments."""

    def mutate(model: Gemma4) -> None:
        module: Any = model.model.get_submodule(part)
        plain = getattr(module, method)
        setattr(module, method, lambda *given: change(plain, *given))

    return mutate


def flipped(parameter: str, dim: int) -> Mutation:
    def mutate(model: Gemma4) -> None:
        table = model.model.get_parameter(parameter)
        table.copy_(table.flip(dim))

    return mutate


def unclipped(part: str) -> Mutation:
    def mutate(model: Gemma4) -> None:
        for module in model.model.get_submodule(part).modules():
            if isinstance(module, ClippedLinear):
                module.clipped = False

    return mutate


def audio_config(**changes: Any) -> Mutation:
    """Another number in the audio tower's config, read again at construction."""

    def mutate(model: Gemma4) -> None:
        assert model.config.audio is not None
        other = Gemma4(replace(model.config, audio=replace(model.config.audio, **changes)))
        other.load_state_dict(model.state_dict())
        model.model.audio_tower = other.requires_grad_(False).model.audio_tower

    return mutate


PLACES = "vision_tower.patch_embedder.position_embedding_table"
IMAGE, IMAGES, SOUND = 0, 1, len(SEEN)  # cases
MUTANTS: dict[str, tuple[str, int, Mutation]] = {
    "places of rows and columns are swapped": ("e2b", IMAGE, flipped(PLACES, 0)),
    "places of rows and columns are swapped in the 12B": (
        "12b",
        IMAGE,
        flipped("vision_embedder.pos_embedding", 1),
    ),
    "rotations of rows and columns are swapped": (
        "e2b",
        IMAGE,
        wrapped("vision_tower.encoder", "_rotations", lambda plain, at, dtype: plain(at.flip(-1), dtype)),
    ),
    "pixels are not centred": (
        "26b",
        IMAGE,
        wrapped("vision_tower.patch_embedder", "forward", lambda plain, x, at: plain(x / 2 + 0.5, at)),
    ),
    "what is pooled is not scaled": (
        "31b",
        IMAGE,
        wrapped("vision_tower", "_pool", lambda plain, x, grids: plain(x, grids) / x.shape[1] ** 0.5),
    ),
    "images take each other's places": (
        "31b",
        IMAGES,
        wrapped("embed_vision", "forward", lambda plain, x: plain(x).flip(0)),
    ),
    "soft tokens read the per-layer table at their own id": (
        "e2b",
        IMAGE,
        wrapped(
            "language_model",
            "_with_per_layer",
            lambda plain, ids, x: plain(ids + TOKENS.image * (ids == 0), x),
        ),
    ),
    "the vision tower does not clip": ("e2b", IMAGE, unclipped("vision_tower")),
    "the audio tower does not clip": ("e2b", SOUND, unclipped("audio_tower")),
    "a frame hears 12 frames": ("e2b", SOUND, audio_config(attention_context_left=12)),
    "scores of sound are not capped": ("e2b", SOUND, audio_config(attention_logit_cap=1e9)),
    "the feed-forward of sound counts whole": ("e2b", SOUND, audio_config(residual_weight=1.0)),
}
STEPS: dict[str, tuple[str, int, Stepped]] = {
    "images see causally": ("31b", IMAGE, images_see_causally),
    "images see causally in the 12B": ("12b", IMAGE, images_see_causally),
    "images see both ways on global layers too": ("31b", IMAGE, images_see_both_ways_on_global_layers_too),
    "images see beyond the window": ("26b", IMAGES, images_see_beyond_the_window),
    "images of an edge model see both ways": ("e2b", IMAGE, images_see_both_ways),
}


def distance(size: str, number: int, mutate: Mutation | None, stepped: Stepped) -> float:
    """How far our logits are from theirs on one of the cases."""
    case = cases_of(size)[number]
    ours, theirs = whole_pair(size)
    if mutate is not None:
        mutate(ours)
    ids = torch.tensor(case.ids)
    with torch.inference_mode():
        embedded = ours.embed_with_soft_tokens(ids, MediaEncoder(ours).encode(case.media))
        got = ours.logits(ours(embedded, stepped(ours, ids)))
        return float((got - theirs(**case.theirs).logits[0]).abs().max())


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name: str) -> None:
    size, number, mutate = MUTANTS[name]
    assert distance(size, number, None, usual_step) < TOLERANCE
    assert distance(size, number, mutate, usual_step) > 10 * TOLERANCE


@pytest.mark.parametrize("name", STEPS)
def test_a_wrong_sight_is_caught(name: str) -> None:
    size, number, stepped = STEPS[name]
    assert distance(size, number, None, stepped) > 10 * TOLERANCE
