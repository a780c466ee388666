from pathlib import Path

import pytest
import torch

from gemcut.engine.occupancy import Occupancy
from gemcut.errors import BenchFailed
from gemcut.speed.order import Shape, Taken
from gemcut.speed.ours import Ours
from tests.tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_model(folder)
    return folder


def ours(folder: Path, most_running: int = 4) -> Ours:
    return Ours(str(folder), "cpu", None, 1, most_running)


def take(side: Ours, batch: int, seed: int = 0) -> Taken:
    shape = Shape(prompt_tokens=100, batch=batch, new_tokens=6)
    return side.take(shape.order(range(40, 120), seed))


@pytest.mark.parametrize("batch", [1, 4])
def test_prompts_and_steps_are_timed_and_nothing_is_left_behind(
    tiny: Path, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = ours(tiny)
    monkeypatch.setattr("gemcut.speed.ours.IDLE_S", 0.0)
    for seed in range(2):
        taken = take(side, batch, seed)
        assert taken.step_s > 0
        assert taken.prefill_s > 0
        occupancy = side._generator.occupancy()
        assert (occupancy.running, occupancy.waiting) == (0, 0)
    assert side.about().title.startswith("gemcut ")
    assert side.about().peak_bytes > 2**20


def test_each_token_costs_a_step(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is guessed, no reply ends by itself, and prompts that begin alike are read anew."""
    side = ours(tiny)
    take(side, 1)
    engine = side._generator._engine
    assert engine is not None
    runner, steps = engine._loop._runner, []
    run = runner.run

    def counted(planned, soft):  # type: ignore[no-untyped-def]
        steps.append(sum(len(rows.ids) for rows in planned))
        return run(planned, soft)

    monkeypatch.setattr(runner, "run", counted)
    take(side, 1, seed=1)
    assert steps == [100] + 6 * [1]


def test_requests_that_do_not_fit_together_are_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    side = ours(tiny)
    fewer = Occupancy(
        full_pages=9,
        full_pages_used=9,
        sliding_pages=9,
        sliding_pages_used=9,
        running=2,
        waiting=2,
        failed=False,
    )
    monkeypatch.setattr(side._generator, "occupancy", lambda: fewer)
    with pytest.raises(BenchFailed, match="4 requests of 100 tokens do not fit into memory together"):
        take(side, 4)


def test_threads_are_those_that_were_asked_for(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    Ours(str(tiny), "cpu", None, 3, 1)
    assert asked == [3]
