"""The naive loop on a tiny random model."""

import weakref

import pytest
import torch

from gemcut.engine.naive import generate
from gemcut.engine.sampling import Sampler
from gemcut.errors import EmptyPrompt, PromptTooLong
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import PlainCache, next_step, whole_sequences
from tests.parity.tiny import EDGE, fill, model_config

GREEDY = Sampler(
    temperature=0.0, top_k=None, top_p=1.0, min_p=0.0, repetition_penalty=1.0, seed=0, suppress_ids=()
)
NO_MEDIA = torch.empty(0, 1)
PROMPT = list(range(10, 40))


@pytest.fixture(scope="module")
def model() -> Gemma4:
    model = Gemma4(model_config(EDGE)).requires_grad_(False)
    fill(model, seed=0)
    return model


def test_tokens_and_logprobs_are_those_of_the_whole_forward(model: Gemma4) -> None:
    made = list(generate(model, PROMPT, NO_MEDIA, GREEDY, (), 12))
    ids = PROMPT + [token.id for token in made]
    step = whole_sequences([len(ids)], EDGE, torch.device("cpu"))
    logprobs = model.logits(model(model.embed(torch.tensor(ids)), step)).log_softmax(-1)[len(PROMPT) - 1 : -1]
    assert [token.id for token in made] == logprobs.argmax(-1).tolist()
    want = logprobs.amax(-1)
    torch.testing.assert_close(torch.tensor([token.logprob for token in made]), want, atol=2e-4, rtol=0)


def test_a_long_prompt_is_read_in_parts_with_the_same_result(
    model: Gemma4, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [token.id for token in generate(model, PROMPT * 3, NO_MEDIA, GREEDY, (), 8)]
    monkeypatch.setattr("gemcut.engine.naive.PREFILL_ROWS", 32)
    assert [token.id for token in generate(model, PROMPT * 3, NO_MEDIA, GREEDY, (), 8)] == whole


def test_it_ends_with_the_stop_token(model: Gemma4) -> None:
    free = [token.id for token in generate(model, PROMPT, NO_MEDIA, GREEDY, (), 12)]
    stop = free[4]
    assert [token.id for token in generate(model, PROMPT, NO_MEDIA, GREEDY, (stop,), 12)] == free[
        : free.index(stop) + 1
    ]


def test_a_cache_does_not_take_more_than_it_holds() -> None:
    """Its full-attention layers would overwrite their first keys and answer wrongly."""
    cache = PlainCache(EDGE, 8, torch.device("cpu"))
    next_step(cache, 8, None)
    with pytest.raises(AssertionError):
        next_step(cache, 1, None)


def test_a_model_that_nobody_holds_gives_its_memory_back_at_once() -> None:
    """Blocks once held bound methods of themselves, so gigabytes waited for the garbage collector."""
    with torch.device("meta"):
        model = Gemma4(model_config(EDGE))
    gone = weakref.ref(model.model.language_model.layers[0])
    del model
    assert gone() is None


def test_it_ends_when_the_context_is_full(model: Gemma4) -> None:
    prompt = [7] * (EDGE.max_position_embeddings - 3)
    assert len(list(generate(model, prompt, NO_MEDIA, GREEDY, (), None))) == 3


def test_an_empty_prompt_is_refused(model: Gemma4) -> None:
    with pytest.raises(EmptyPrompt, match="the prompt has no tokens"):
        next(generate(model, [], NO_MEDIA, GREEDY, (), 1))


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(model: Gemma4) -> None:
    with pytest.raises(PromptTooLong, match="the prompt has 4096 tokens and this model's context holds 4096"):
        next(generate(model, [5] * 4096, NO_MEDIA, GREEDY, (), 1))
