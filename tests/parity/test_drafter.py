"""Drafters against transformers' assistants, on random weights in small shapes, in float32."""

import functools

import pytest
import torch
from torch import Tensor

from gemcut.model.drafter import draft_view
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import KeysValues, PlainCache, next_step
from tests.parity import tiny, tiny_drafter
from tests.parity.tiny import TINY
from tests.parity.tiny_drafter import drafter_config

TOLERANCE = 2e-4
CPU = torch.device("cpu")
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


def after(model: Gemma4, ids: Tensor, revocable: int = 0) -> tuple[PlainCache, Tensor]:
    """The cache that holds the ids, and the last row's hidden state (1, B)."""
    cache = PlainCache(model.config.text, len(ids) + 8, CPU, revocable=revocable)
    return cache, model(model.embed(ids), next_step(cache, len(ids), torch.tensor([len(ids) - 1])))


@every_size
@pytest.mark.parametrize("length", [1, 9, 24, 70])
def test_the_logits_of_several_draft_steps_equal_transformers(size: str, length: int) -> None:
    """Both read the same K and V and the same hidden row; each goes on with its own."""
    target, _ = pair(TINY[size])
    ours, theirs = drafter_pair(drafter_config(size))
    cache, hidden = after(target, token_ids(length))
    seen, step = draft_view(cache)
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
