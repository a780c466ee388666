"""Drafts that are checked exactly, looked up in the text, and left alone where they do not pay."""

import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gemcut.engine.sampling import Sampler
from gemcut.engine.speculative import (
    Costs,
    Distribution,
    DraftLength,
    PromptLookup,
    keep_or_replace,
    num_agreed,
)

FILTERED = Sampler(
    temperature=0.8, top_k=6, top_p=0.9, min_p=0.02, repetition_penalty=1.2, seed=1, suppress_ids=(3,)
)


def distribution(sampler: Sampler, seed: int, seen: list[int]) -> Distribution:
    logits = 2 * torch.randn(12, generator=torch.Generator().manual_seed(seed))
    penalised = sampler.penalised(logits, torch.tensor(seen, dtype=torch.long))
    return Distribution.of_weights(*sampler.candidates(penalised))


def dense(of: Distribution) -> torch.Tensor:
    return torch.zeros(12, dtype=torch.float64).index_put((of.ids,), of.probabilities)


def certain(token: int) -> Distribution:
    return Distribution(torch.ones(1, dtype=torch.float64), torch.tensor([token]))


def test_the_agreed_are_counted_up_to_the_first_difference() -> None:
    assert num_agreed([4, 5, 6], [4, 5, 6, 7]) == 3
    assert num_agreed([4, 9, 6], [4, 5, 6, 7]) == 1
    assert num_agreed([], [4]) == 0


@given(seed=st.integers(0, 200), other=st.integers(0, 200))
@settings(max_examples=50, deadline=None)
def test_kept_and_replaced_tokens_together_have_exactly_the_target_s_distribution(
    seed: int, other: int
) -> None:
    """Summed over all drafts: q·min(1, p/q) + (what is rejected)·rest = p."""
    target, draft = distribution(FILTERED, seed, [2, 5]), distribution(FILTERED, other + 1000, [])
    p, q = dense(target), dense(draft)
    kept = torch.minimum(p, q)
    total = kept + (1 - kept.sum()) * dense(target.without(draft))
    torch.testing.assert_close(total, p, atol=1e-12, rtol=0)


@pytest.mark.parametrize("draft_seed", [7, 8, None])
def test_draws_follow_the_target_s_filtered_distribution(draft_seed: int | None) -> None:
    """Chi-squared over 4,000 draws, of drafts drawn from another distribution or always the same token."""
    target = distribution(FILTERED, 3, [2, 5])
    draft = certain(int(target.ids[1])) if draft_seed is None else distribution(FILTERED, draft_seed, [])
    source = random.Random(0)
    counts, total, kept = torch.zeros(12, dtype=torch.float64), 4_000, 0
    for _ in range(total):
        drafted = draft.draw(source.random())
        agreed, token = keep_or_replace(drafted, draft, target, (source.random(), source.random()))
        assert agreed == (token == drafted)
        counts[token] += 1
        kept += agreed
    want = total * dense(target)
    assert counts[want == 0].sum() == 0
    chi_squared = ((counts - want).square() / want)[want > 0].sum()
    assert chi_squared < 25  # at most 5 degrees of freedom: reached by chance once in 7,000 runs
    assert kept / total == pytest.approx(float(torch.minimum(dense(target), dense(draft)).sum()), abs=0.03)


def test_a_draft_from_the_target_s_own_distribution_is_always_kept() -> None:
    target = distribution(FILTERED, 3, [])
    source = random.Random(0)
    for _ in range(200):
        drafted = target.draw(source.random())
        assert keep_or_replace(drafted, target, target, (source.random(), 0.5)) == (True, drafted)


def test_a_greedy_target_keeps_its_own_choice_and_replaces_any_other() -> None:
    assert keep_or_replace(4, certain(4), certain(4), (0.999, 0.5)) == (True, 4)
    assert keep_or_replace(5, certain(5), certain(4), (0.0, 0.5)) == (False, 4)


def test_a_token_that_the_filters_took_away_is_never_kept() -> None:
    target = distribution(replace(FILTERED, top_k=1), 3, [])
    assert not keep_or_replace(3, certain(3), target, (0.0, 0.5))[0]


def looked_up(ids: list[int], count: int, longest: int, shortest: int) -> list[int]:
    """The same by comparing every place."""
    for length in range(longest, shortest - 1, -1):
        for start in range(len(ids) - 1, length - 1, -1):
            if ids[start - length : start] == ids[len(ids) - length :]:
                copied = list(ids)
                while len(copied) < len(ids) + count:
                    copied.append(copied[start + len(copied) - len(ids)])
                return copied[len(ids) :]
    return []


@given(
    ids=st.lists(st.integers(0, 3), max_size=40),
    cut=st.integers(0, 40),
    count=st.integers(0, 8),
    lengths=st.sampled_from([(1, 1), (2, 1), (3, 2), (4, 2)]),
)
@settings(max_examples=150, deadline=None)
def test_a_look_up_finds_the_latest_of_the_longest_agreements(
    ids: list[int], cut: int, count: int, lengths: tuple[int, int]
) -> None:
    lookup = PromptLookup(*lengths)
    lookup.extend(ids[:cut])
    lookup.extend(ids[cut:])
    assert lookup.draft(count) == looked_up(ids, count, *lengths)


def test_a_look_up_in_a_repeated_text_goes_on_as_long_as_is_asked() -> None:
    lookup = PromptLookup()
    lookup.extend([7, 8, 9, 7, 8, 9, 7, 8])
    assert lookup.draft(7) == [9, 7, 8, 9, 7, 8, 9]


def test_what_never_stood_there_before_drafts_nothing() -> None:
    lookup = PromptLookup()
    lookup.extend(range(20))
    assert lookup.draft(5) == []


CHEAP = Costs(draft=0.03, rows=(1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3))
DEAR = Costs(draft=0.6, rows=(1.0, 1.9, 2.8))


def run(length: DraftLength, costs: Costs, acceptance: float, steps: int, seed: int = 0) -> float:
    """Tokens a unit of time over so many steps with that true acceptance."""
    source, tokens, time = random.Random(seed), 0, 0.0
    for _ in range(steps):
        drafted = length.choose()
        agreed = 0
        while agreed < drafted and source.random() < acceptance:
            agreed += 1
        length.record(drafted, agreed)
        tokens += agreed + 1
        time += costs.rows[drafted] + drafted * costs.draft
    return tokens / time


def test_costs_tell_the_best_length() -> None:
    assert CHEAP.gain(0, 0.5) == 1.0
    assert CHEAP.gain(2, 0.5) == pytest.approx(1.75 / 1.16)
    assert CHEAP.best(0.0) == 0
    assert CHEAP.best(0.95) == CHEAP.most
    assert CHEAP.best(0.4) < CHEAP.best(0.8)


@pytest.mark.parametrize("acceptance", [0.5, 0.7, 0.9])
def test_it_comes_close_to_the_best_that_the_acceptance_allows(acceptance: float) -> None:
    best = CHEAP.gain(CHEAP.best(acceptance), acceptance)
    assert run(DraftLength(CHEAP), CHEAP, acceptance, 4000) > 0.95 * best


@pytest.mark.parametrize("acceptance", [0.0, 0.03])
def test_where_drafts_are_wrong_it_rests_and_loses_little(acceptance: float) -> None:
    assert run(DraftLength(CHEAP), CHEAP, acceptance, 4000) > 0.98


def test_where_drafts_cost_more_than_they_could_gain_it_never_drafts() -> None:
    assert run(DraftLength(DEAR), DEAR, 0.99, 200) == 1.0


def test_it_wakes_when_the_text_becomes_easy_and_rests_when_it_becomes_hard_again() -> None:
    length = DraftLength(CHEAP)
    run(length, CHEAP, 0.0, 300)
    run(length, CHEAP, 0.9, 600)
    best = CHEAP.gain(CHEAP.best(0.9), 0.9)
    assert run(length, CHEAP, 0.9, 600) > 0.9 * best
    run(length, CHEAP, 0.0, 100)
    assert run(length, CHEAP, 0.0, 2000) > 0.98


def test_steps_without_a_draft_teach_it_nothing() -> None:
    length = DraftLength(CHEAP)
    before = length.acceptance
    length.record(0, 0)
    assert length.acceptance == before


def test_it_measures_the_acceptance_of_the_tokens_that_were_checked() -> None:
    length = DraftLength(CHEAP)
    for _ in range(100):
        length.record(4, 2)  # kept, kept, wrong; the fourth was not checked
    assert length.acceptance == pytest.approx(2 / 3, abs=0.05)
