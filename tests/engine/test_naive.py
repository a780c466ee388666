"""The naive loop on a tiny random model."""

import weakref

import pytest
import torch

from gemcut.engine.naive import generate, score_prompt
from gemcut.engine.sampling_params import Sampling
from gemcut.engine.stop_conditions import StopConditions
from gemcut.errors import EmptyPrompt, PromptTooLong
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import PlainCache, next_step, whole_sequences
from tests.parity.tiny import EDGE, fill, greedy, model_config

NO_MEDIA = torch.empty(0, 1)
PROMPT = list(range(10, 40))


@pytest.fixture(scope="module")
def model() -> Gemma4:
    model = Gemma4(model_config(EDGE)).requires_grad_(False)
    fill(model, seed=0)
    return model


def ids_made(model: Gemma4, prompt: list[int], sampling: Sampling, stops: StopConditions) -> list[int]:
    return [token.id for token in generate(model, prompt, NO_MEDIA, sampling, stops)]


def whole_forward(model: Gemma4, ids: list[int]) -> torch.Tensor:
    """Log probabilities (T, V)."""
    step = whole_sequences([len(ids)], EDGE, torch.device("cpu"))
    logprobs: torch.Tensor = model.logits(model(model.embed(torch.tensor(ids)), step)).log_softmax(-1)
    return logprobs


def test_tokens_and_logprobs_are_those_of_the_whole_forward(model: Gemma4) -> None:
    sampling = Sampling(temperature=0, logprobs=3)
    made = list(generate(model, PROMPT, NO_MEDIA, sampling, StopConditions(max_tokens=12)))
    logprobs = whole_forward(model, PROMPT + [token.id for token in made])[len(PROMPT) - 1 : -1]
    assert [token.id for token in made] == logprobs.argmax(-1).tolist()
    got = [token.logprobs for token in made if token.logprobs is not None]
    want = logprobs.topk(3)
    torch.testing.assert_close(
        torch.tensor([item.logprob for item in got]), want.values[:, 0], atol=2e-4, rtol=0
    )
    assert [[token_id for token_id, _ in item.top] for item in got] == want.indices.tolist()
    values = torch.tensor([[value for _, value in item.top] for item in got])
    torch.testing.assert_close(values, want.values, atol=2e-4, rtol=0)


def test_logprobs_are_made_only_where_they_are_wanted(model: Gemma4) -> None:
    token = next(generate(model, PROMPT, NO_MEDIA, Sampling(), StopConditions(max_tokens=1)))
    assert token.logprobs is None


def test_a_prompt_s_logprobs_are_those_of_the_whole_forward(
    model: Gemma4, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gemcut.engine.naive.PREFILL_ROWS", 32)
    monkeypatch.setattr("gemcut.engine.naive.SCORED_ROWS", 7)
    prompt = PROMPT * 3
    scored = score_prompt(model, prompt, NO_MEDIA, num_top=2)
    logprobs = whole_forward(model, prompt)[:-1]
    assert [item.token_id for item in scored] == prompt[1:]
    want = logprobs.gather(1, torch.tensor(prompt[1:])[:, None])[:, 0]
    torch.testing.assert_close(torch.tensor([item.logprob for item in scored]), want, atol=2e-4, rtol=0)
    assert [[token_id for token_id, _ in item.top] for item in scored] == logprobs.topk(2).indices.tolist()


def test_a_long_prompt_is_read_in_parts_with_the_same_result(
    model: Gemma4, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = greedy(model, PROMPT * 3, 8)
    monkeypatch.setattr("gemcut.engine.naive.PREFILL_ROWS", 32)
    assert greedy(model, PROMPT * 3, 8) == whole


def test_it_ends_with_the_stop_token(model: Gemma4) -> None:
    free = greedy(model, PROMPT, 12)
    stop = free[4]
    stops = StopConditions([stop], max_tokens=12)
    assert ids_made(model, PROMPT, Sampling(temperature=0), stops) == free[: free.index(stop) + 1]


def test_min_tokens_come_before_a_stop(model: Gemma4) -> None:
    free = greedy(model, PROMPT, 12)
    sampling = Sampling(temperature=0, stop_ids=(free[0],), min_tokens=3)
    made = ids_made(model, PROMPT, sampling, StopConditions([free[0]], min_tokens=3, max_tokens=12))
    assert free[0] not in made[:3]
    assert len(made) > 3


def test_penalties_count_what_was_made(model: Gemma4) -> None:
    """A frequency penalty that outweighs every difference lets no token come twice before all came once."""
    made = ids_made(
        model, PROMPT, Sampling(temperature=0, frequency_penalty=1000), StopConditions(max_tokens=40)
    )
    assert len(set(made)) == 40


def test_a_sample_of_its_own_number_has_draws_of_its_own(model: Gemma4) -> None:
    def sample(number: int) -> list[int]:
        stops = StopConditions(max_tokens=12)
        return [
            token.id for token in generate(model, PROMPT, NO_MEDIA, Sampling(seed=5, sample=number), stops)
        ]

    assert sample(1) == sample(1)
    assert sample(1) != sample(0)


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
    assert len(list(generate(model, prompt, NO_MEDIA, Sampling(), StopConditions()))) == 3


def test_an_empty_prompt_is_refused(model: Gemma4) -> None:
    with pytest.raises(EmptyPrompt, match="the prompt has no tokens"):
        next(generate(model, [], NO_MEDIA, Sampling(), StopConditions(max_tokens=1)))


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(model: Gemma4) -> None:
    with pytest.raises(PromptTooLong, match="the prompt has 4096 tokens and this model's context holds 4096"):
        next(generate(model, [5] * 4096, NO_MEDIA, Sampling(), StopConditions(max_tokens=1)))
