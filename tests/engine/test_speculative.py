"""What is guessed from the text, how many guesses are kept, and who gets how many."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemcut.engine.speculative import Acceptance, Offer, PromptLookup, Speculation, StepTimes, share_rows
from gemcut.errors import BadOption


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


def run(acceptance: Acceptance, price: float, true: float, steps: int, seed: int = 0) -> float:
    """Tokens a unit of time over so many steps, of one sequence whose guesses are kept with that probability.

    price: of a row more.
    """
    source, times, tokens, time = random.Random(seed), StepTimes(), 0, 0.0
    for _ in range(steps):
        drafted = 0
        if times.of(1) is not None:
            (drafted,) = share_rows([Offer(6, acceptance.expected, made=False)], 1, times, 0.0)
            if drafted == 0:
                acceptance.rest()
        agreed = 0
        while agreed < drafted and source.random() < true:
            agreed += 1
        acceptance.pass_step()
        acceptance.record(drafted, agreed)
        times.record(1 + drafted, 1 + price * drafted)
        tokens += agreed + 1
        time += 1 + price * drafted
    return tokens / time


def gain(count: int, acceptance: float, price: float) -> float:
    return sum(acceptance**place for place in range(count + 1)) / (1 + price * count)


@pytest.mark.parametrize("true", [0.5, 0.7, 0.9])
def test_it_comes_close_to_the_best_that_the_acceptance_allows(true: float) -> None:
    best = max(gain(count, true, 0.08) for count in range(7))
    assert run(Acceptance(), 0.08, true, 4000) > 0.93 * best


@pytest.mark.parametrize("true", [0.0, 0.03])
def test_where_guesses_are_wrong_it_rests_and_loses_little(true: float) -> None:
    assert run(Acceptance(), 0.08, true, 4000) > 0.98


def test_where_rows_cost_more_than_they_could_gain_it_hardly_guesses() -> None:
    """It tries again now and then, because what rows cost may change."""
    assert run(Acceptance(), 1.5, 0.99, 3000) > 0.9


def test_it_wakes_when_the_text_becomes_easy_and_rests_when_it_becomes_hard_again() -> None:
    acceptance = Acceptance()
    run(acceptance, 0.08, 0.0, 300)
    run(acceptance, 0.08, 0.9, 600)
    best = max(gain(count, 0.9, 0.08) for count in range(7))
    assert run(acceptance, 0.08, 0.9, 600) > 0.9 * best
    run(acceptance, 0.08, 0.0, 100)
    assert run(acceptance, 0.08, 0.0, 2000) > 0.98


def test_steps_without_guesses_teach_it_nothing() -> None:
    acceptance = Acceptance()
    before = acceptance.expected
    acceptance.record(0, 0)
    acceptance.rest()
    assert acceptance.expected == before


def test_it_measures_the_acceptance_of_the_guesses_that_were_checked() -> None:
    acceptance = Acceptance()
    for _ in range(100):
        acceptance.record(4, 2)  # kept, kept, wrong; the fourth was not checked
    assert acceptance.expected == pytest.approx(2 / 3, abs=0.05)


def test_a_rest_after_wrong_guesses_ends_and_the_next_one_is_longer() -> None:
    acceptance, rests = Acceptance(), []
    for _ in range(3):
        acceptance.record(4, 0)
        acceptance.rest()
        steps = 0
        while acceptance.expected == 0:
            acceptance.pass_step()
            steps += 1
        rests.append(steps)
    assert rests == [16, 32, 64]


def measured(**seconds: float) -> StepTimes:
    times = StepTimes()
    for rows, value in seconds.items():
        times.record(int(rows.removeprefix("of_")), value)
    return times


def test_step_times_are_known_between_what_was_measured_and_hoped_for_above_it() -> None:
    times = measured(of_2=1.0, of_6=2.0)
    assert times.of(1) is None
    assert times.of(2) == 1.0
    assert times.of(4) == pytest.approx(1.5)
    assert times.of(9) == 2.0


def test_step_times_follow_what_is_measured_and_forget_what_was_long_ago() -> None:
    times = measured(of_1=1.0, of_5=1.1)
    for _ in range(40):
        times.record(5, 2.2)
    assert times.of(5) == pytest.approx(2.2, rel=0.01)
    for _ in range(StepTimes.LATELY):
        times.record(5, 2.2)
    assert times.of(1) is None  # so a step without guesses comes next


def test_guesses_go_where_they_are_likeliest_to_be_kept() -> None:
    times = measured(of_2=1.0, of_10=1.4)
    offers = [Offer(5, 0.9, made=False), Offer(5, 0.2, made=False)]
    first, second = share_rows(offers, 2, times, 0.0)
    assert first > 3
    assert second <= 1
    assert share_rows([Offer(5, 0.0, made=False)], 2, times, 0.0) == [0]


def test_rows_beyond_the_point_where_a_step_becomes_dear_are_left_alone() -> None:
    """As on a CPU, whose kernel takes 8 rows at the price of one."""
    times = measured(of_1=1.0, of_8=1.1, of_9=3.0)
    assert share_rows([Offer(12, 0.8, made=False)], 1, times, 0.0) == [7]


def test_a_drafter_that_takes_long_is_asked_for_less() -> None:
    times = measured(of_1=1.0, of_8=1.1)
    (free,) = share_rows([Offer(7, 0.7, made=False)], 1, times, 0.2)
    (dear,) = share_rows([Offer(7, 0.7, made=True)], 1, times, 0.2)
    assert free == 7
    assert 0 < dear < 4
    assert share_rows([Offer(7, 0.7, made=True)], 1, times, 0.9) == [0]


def test_tokens_that_must_come_are_taken_before_any_guess() -> None:
    times = measured(of_2=1.0, of_6=1.0, of_7=9.0)
    assert share_rows([Offer(5, 0.9, made=False), Offer(4, 1.0, made=False)], 2, times, 0.0) == [0, 4]


def test_options_that_mean_nothing_are_refused() -> None:
    with pytest.raises(BadOption, match="max_drafts is 0"):
        Speculation(max_drafts=0)
    with pytest.raises(BadOption, match="auto, lookup, drafter, off"):
        Speculation(speculate="on")  # type: ignore[arg-type]
