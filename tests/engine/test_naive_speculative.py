"""The loop with drafts gives the tokens of the loop without, in float64, at the window's edge too."""

import functools
from dataclasses import dataclass, replace

import pytest
import torch

from gemcut.engine.naive import Token, generate
from gemcut.engine.naive_speculative import DrafterDrafts, DraftSource, LookupDrafts, SpeculativeLoop
from gemcut.engine.sampling import Sampler
from gemcut.model.drafter import Drafter
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import PlainCache
from tests.parity.tiny import ODD, TINY, fill, model_config
from tests.parity.tiny_drafter import drafter_config

GREEDY = Sampler(
    temperature=0.0, top_k=None, top_p=1.0, min_p=0.0, repetition_penalty=1.0, seed=0, suppress_ids=()
)
SAMPLED = replace(GREEDY, temperature=0.7, top_k=20, top_p=0.9, repetition_penalty=1.1, seed=4)
NO_MEDIA = torch.empty(0, 1)
CONFIGS = {**TINY, **{name: text for name, text in ODD.items() if "window" in name}}
LONGER = 40  # tokens made: beyond the window of 24


@functools.cache
def model(name: str) -> Gemma4:
    built = Gemma4(model_config(CONFIGS[name])).double().requires_grad_(False)
    fill(built, seed=0)
    return built


@functools.cache
def drafter(size: str) -> Drafter:
    built = Drafter(drafter_config(size)).double().requires_grad_(False)
    fill(built, seed=1)
    if built.config.clusters is not None:
        built.masked_embedding.token_ordering.copy_(torch.arange(320).flip(0))
    return built


@functools.cache
def without(name: str, start: int, sampler: Sampler, tokens: int) -> list[Token]:
    return list(generate(model(name), prompt(start), NO_MEDIA, sampler, (), tokens))


def prompt(length: int) -> list[int]:
    return [20 + 7 * place % 50 for place in range(length)]


@dataclass(frozen=True)
class Forced:
    """Drafts the true tokens, and wrong ones where the pattern says so, in turn."""

    truth: tuple[int, ...]
    prompt_length: int
    pattern: tuple[int, ...]  # how many of each draft are right

    def draft(self, ids: torch.Tensor, hidden: torch.Tensor, cache: PlainCache, count: int) -> list[int]:
        made = len(ids) - self.prompt_length
        right = self.pattern[made % len(self.pattern)]
        true = self.truth[made : made + count]
        return [token if place < right else (token + 1) % 320 for place, token in enumerate(true)]


def with_drafts(
    name: str, source: DraftSource, start: int, sampler: Sampler, tokens: int
) -> list[list[Token]]:
    loop = SpeculativeLoop(model(name), source, most=5)
    return list(loop.generate(prompt(start), NO_MEDIA, sampler, (), tokens))


def same(steps: list[list[Token]], want: list[Token]) -> None:
    got = [token for step in steps for token in step]
    assert [token.id for token in got] == [token.id for token in want]
    assert [token.logprob for token in got] == pytest.approx([t.logprob for t in want], abs=1e-6)


@pytest.mark.parametrize("sampler", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("name", CONFIGS)
def test_drafts_that_are_right_and_wrong_by_turns_change_no_token(name: str, sampler: Sampler) -> None:
    """The prompt of 15 tokens ends within the window, and the drafts go across its edge."""
    want = without(name, 15, sampler, LONGER)
    truth = tuple(token.id for token in want)
    steps = with_drafts(name, Forced(truth, 15, (5, 0, 3, 1, 2, 4, 0)), 15, sampler, LONGER)
    same(steps, want)
    assert 5 < len(steps) < LONGER


@pytest.mark.parametrize("name", TINY)
def test_a_drafter_changes_no_token(name: str) -> None:
    want = without(name, 30, GREEDY, LONGER)
    same(with_drafts(name, DrafterDrafts(model(name), drafter(name)), 30, GREEDY, LONGER), want)


@pytest.mark.parametrize("name", TINY)
def test_prompt_look_up_changes_no_token(name: str) -> None:
    want = without(name, 60, GREEDY, LONGER)
    same(with_drafts(name, LookupDrafts(longest=3, shortest=1), 60, GREEDY, LONGER), want)


@pytest.mark.parametrize("tokens", [1, 2, 5, 6, 7])
def test_it_makes_no_more_tokens_than_it_may(tokens: int) -> None:
    want = without("31b", 15, GREEDY, LONGER)
    truth = tuple(token.id for token in want)
    same(with_drafts("31b", Forced(truth, 15, (5,)), 15, GREEDY, tokens), want[:tokens])


def test_drafts_that_are_all_right_take_a_sixth_of_the_steps() -> None:
    want = without("31b", 15, GREEDY, 37)
    truth = tuple(token.id for token in want)
    steps = with_drafts("31b", Forced(truth, 15, (5,)), 15, GREEDY, 37)
    assert [len(step) for step in steps] == [1] + [6] * 6


def test_it_ends_with_the_stop_token_in_the_middle_of_a_draft() -> None:
    want = without("31b", 15, GREEDY, LONGER)
    truth = tuple(token.id for token in want)
    stop = truth[3]
    loop = SpeculativeLoop(model("31b"), Forced(truth, 15, (5,)), most=5)
    steps = loop.generate(prompt(15), NO_MEDIA, GREEDY, (stop,), LONGER)
    got = [token.id for step in steps for token in step]
    assert got == list(truth[: truth.index(stop) + 1])


def test_a_cache_does_not_take_back_more_than_it_has_kept() -> None:
    cache = PlainCache(CONFIGS["31b"], 80, torch.device("cpu"), revocable=5)
    cache.grow(30)
    cache.take_back(3)
    cache.grow(1)
    with pytest.raises(AssertionError):
        cache.take_back(4)
