import pytest

from gemcut.train.schedule import Budget, Schedule


def test_the_rate_rises_stays_and_falls_to_nothing() -> None:
    schedule = Schedule(warm_up=3, decay_from=0.5)
    assert [schedule.factor(step, 0.0) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert schedule.factor(10, 0.5) == 1.0
    assert schedule.factor(10, 0.75) == pytest.approx(0.5)
    assert schedule.factor(10, 1.0) == 0.0


def test_a_budget_counts_steps_or_minutes() -> None:
    assert Budget(steps=8).progress(step=2, seconds=1e9) == 0.25
    assert Budget(minutes=2.0).progress(step=999, seconds=30.0) == 0.25
    assert Budget(minutes=2.0).progress(step=999, seconds=150.0) == 1.0
