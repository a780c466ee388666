"""Drafters against transformers' assistants, on random weights in small shapes, in float32."""

import functools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig
from transformers.generation.candidate_generator import SinglePositionMultiTokenCandidateGenerator

from gemcut.model.drafter import Drafter
from gemcut.model.layer_plan import layers_read_by_drafter
from gemcut.model.step import KeysValues
from tests.parity import tiny, tiny_drafter
from tests.parity.tiny import TINY
from tests.parity.tiny_drafter import drafted, drafter_config, view

TOLERANCE = 2e-4
pair = functools.cache(tiny.pair)
drafter_pair = functools.cache(tiny_drafter.drafter_pair)
every_size = pytest.mark.parametrize("size", TINY)


@pytest.fixture(autouse=True)
def _no_gradients() -> object:
    with torch.inference_mode():
        yield


def token_ids(length: int, vocab_size: int = 320) -> Tensor:
    return torch.randint(5, vocab_size, (length,), generator=torch.Generator().manual_seed(1))


def their_form(seen: KeysValues) -> KeysValues:
    """(S, K, D) -> (1, K, S, D)."""
    k, v = (x.transpose(0, 1)[None] for x in seen)
    return k, v


@every_size
@pytest.mark.parametrize("length", [1, 9, 24, 70])
def test_the_logits_of_several_draft_steps_equal_transformers(size: str, length: int) -> None:
    """Both read the same K and V and the same hidden row; each goes on with its own."""
    target, _ = pair(TINY[size])
    ours, theirs = drafter_pair(drafter_config(size))
    read = view(target, token_ids(length))
    hidden, seen, step = read.hidden, read.seen, read.step
    shared = {kind: their_form(kv) for kind, kv in seen.items()}
    token = token_ids(length + 1)[-1:]
    their_hidden = hidden
    for _ in range(4):
        row = target.embed(token).hidden
        want = theirs(
            inputs_embeds=torch.cat((row, their_hidden), dim=-1)[None],
            position_ids=torch.tensor([[length]]),
            shared_kv_states=shared,
        )
        own = ours(row, hidden, seen, step)
        torch.testing.assert_close(ours.logits(own), want.logits[0], atol=TOLERANCE, rtol=0)
        hidden, their_hidden = ours.hand_on(own, step), want.last_hidden_state[0]
        torch.testing.assert_close(hidden, their_hidden, atol=TOLERANCE, rtol=0)
        token = want.logits[0].argmax(-1)


@every_size
@pytest.mark.parametrize("length", [1, 9, 23])
def test_drafts_equal_those_of_transformers_own_loop(size: str, length: int) -> None:
    """From the target's forward to the drafted ids, within the window, where both see the same keys."""
    target, their_target = pair(TINY[size])
    for layer in layers_read_by_drafter(TINY[size]).values():  # 5.23 hands nothing out where no layer shares
        their_target.model.layers[layer].self_attn.store_full_length_kv = True
    ours, theirs = drafter_pair(drafter_config(size))
    ids = token_ids(length)
    outputs = their_target(ids[None], output_hidden_states=True, return_shared_kv_states=True)
    token = outputs.logits[0, -1:].argmax(-1)
    both = torch.cat((ids, token))
    theirs.generation_config.num_assistant_tokens = 4
    limits = GenerationConfig(max_length=100)
    loop = SinglePositionMultiTokenCandidateGenerator(theirs, their_target.get_input_embeddings(), limits)
    want, _ = loop.get_candidates(both[None], {}, outputs, is_first_iteration=False, n_last_matches=0)
    got = drafted(target, ours, ids, int(token), 4)
    assert got == want[0, length + 1 :].tolist()


MUTANTS: dict[str, Callable[[Drafter], object]] = {
    "a layer's scalar is dropped": lambda drafter: drafter.model.layers[1].layer_scalar.fill_(1.0),
    "the final norm has no weight": lambda drafter: drafter.model.norm.weight.fill_(1.0),
    "the hidden row comes before the token": lambda drafter: drafter.pre_projection.weight.copy_(
        drafter.pre_projection.weight.roll(48, dims=1)
    ),
    "one cluster fewer is looked at": lambda drafter: setattr(drafter.masked_embedding, "chosen", 2),
    "the clusters are in another order": lambda drafter: drafter.masked_embedding.token_ordering.copy_(
        drafter.masked_embedding.token_ordering.roll(20)
    ),
}


def distance(mutate: Callable[[Drafter], object], place: int) -> float:
    """How far the logits are from transformers', by a drafter changed so, which stands `place` tokens off."""
    target, _ = pair(TINY["e2b"])
    ours, theirs = tiny_drafter.drafter_pair(drafter_config("e2b"))
    mutate(ours)
    read = view(target, token_ids(30))
    row = target.embed(torch.tensor([9])).hidden
    shared = {kind: their_form(kv) for kind, kv in read.seen.items()}
    want = theirs(
        inputs_embeds=torch.cat((row, read.hidden), dim=-1)[None],
        position_ids=torch.tensor([[30]]),
        shared_kv_states=shared,
    )
    moved = replace(read.step, positions=read.step.positions + place)
    return float((ours.logits(ours(row, read.hidden, read.seen, moved)) - want.logits[0]).abs().max())


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name: str) -> None:
    assert distance(MUTANTS[name], place=0) > 10 * TOLERANCE


def test_a_drafter_that_stands_one_token_off_is_caught() -> None:
    assert distance(lambda drafter: None, place=0) < TOLERANCE
    assert distance(lambda drafter: None, place=-1) > 10 * TOLERANCE
