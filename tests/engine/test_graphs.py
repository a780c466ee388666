"""Decode steps from recordings give what the steps themselves give.

A CPU has no graphs: here a recording calls the same work on the same tensors again, which finds whatever is
not copied into them, and whatever padding does to others.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gemcut.engine import runner as runner_module
from gemcut.engine.graphs import SIZES, StaticRows, recorder_for
from gemcut.engine.pages import SCRATCH, PageLayout
from gemcut.engine.progress import Rows
from gemcut.engine.request import Request
from gemcut.engine.runner import Runner
from gemcut.engine.scheduler import Limits, Scheduler
from gemcut.kernels import paged_attention
from gemcut.kernels.page_pool import PagePool
from gemcut.kernels.page_sight import FEW_ROWS, PageSight
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import Step
from tests.parity.tiny import TINY, fill, model_config

Run = Callable[[], Tensor]
LAYOUT = PageLayout(page_tokens=4, window=24, full_pages=60, sliding_pages=60)
LENGTHS = ((5, 16), (30, 4), (2, 15), (11, 14), (19, 10), (3, 9), (8, 3))  # of prompts, and of replies


class Recorder:
    """Counts how often each recording runs; the work runs once when it is recorded, as on a GPU."""

    def __init__(self) -> None:
        self.runs: list[int] = []

    def __call__(self, run: Run) -> Run:
        size = len(run())

        def again() -> Tensor:
            self.runs.append(size)
            return run()

        return again


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(params=["e2b", "e4b", "31b"])
def model(request: pytest.FixtureRequest) -> Gemma4:
    model = Gemma4(model_config(TINY[request.param])).requires_grad_(False)
    fill(model, seed=0)
    return model


def recording(model: Gemma4, monkeypatch: pytest.MonkeyPatch) -> tuple[Runner, Recorder]:
    recorder = Recorder()
    with monkeypatch.context() as patch:
        patch.setattr(runner_module, "recorder_for", lambda model, cache: recorder)
        return Runner(model, LAYOUT, int8=False), recorder


def drive(both: tuple[Runner, Runner], most_steps: int) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """What both give for the steps of a scheduler, to which a request comes every other step."""
    scheduler = Scheduler(LAYOUT, Limits(step_tokens=40, max_running=5))
    coming = [
        Request(
            id=number, prompt_ids=tuple(range(20 * number + 5, 20 * number + 5 + length)), max_tokens=count
        )
        for number, (length, count) in enumerate(LENGTHS)
    ]
    for step in range(most_steps):
        if coming and step % 2 == 0:
            scheduler.add(coming.pop(0))
        planned = scheduler.next_step({})
        if not planned:
            return
        mine, theirs = (runner.run(planned, {}) for runner in both)
        made, ended = {}, []
        for rows, hidden in zip(planned, theirs, strict=True):
            if rows.chooses:
                made[rows.progress.key] = (int(both[1].logits(hidden[-1:]).argmax()),)
                if rows.progress.num_made + 1 == rows.progress.request.max_tokens:
                    ended.append(rows.progress.key)
        scheduler.commit(made, ended)
        yield mine, theirs


@pytest.mark.usefixtures("built")
def test_recorded_steps_give_what_steps_give_while_requests_come_and_go(
    model: Gemma4, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded, recorder = recording(model, monkeypatch)
    for mine, theirs in drive((recorded, Runner(model, LAYOUT, int8=False)), 100):
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    assert {2, 4, 8} <= set(recorder.runs)


def test_recorded_steps_attend_in_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    triton = pytest.importorskip("gemcut.kernels.paged_triton", reason="triton is made for Linux only")

    def few(q: Tensor, pool: PagePool, sight: PageSight, out: Tensor) -> int:
        triton.attend_few_rows(q, pool, sight, out)
        return FEW_ROWS

    text = replace(TINY["31b"], layer_types=TINY["31b"].layer_types[1:3])  # one layer of each kind
    model = Gemma4(model_config(text)).requires_grad_(False)
    fill(model, seed=0)
    recorded, recorder = recording(model, monkeypatch)
    plain = Runner(model, LAYOUT, int8=False)
    run = Runner.run

    def run_in_triton(self: Runner, planned: tuple[Rows, ...], soft: dict[int, Tensor]) -> list[Tensor]:
        with pytest.MonkeyPatch.context() as patch:
            if self is recorded:
                patch.setattr(paged_attention, "_attend_up_to", few)
            return run(self, planned, soft)

    monkeypatch.setattr(Runner, "run", run_in_triton)
    for mine, theirs in drive((recorded, plain), 5):
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    assert recorder.runs


def test_rows_that_are_gone_write_to_the_scratch_slot_and_see_it_alone(model: Gemma4) -> None:
    static = StaticRows(model.config.text, LAYOUT, 4, torch.zeros(1))
    source = StaticRows(model.config.text, LAYOUT, 4, torch.zeros(1))
    for kind, sight in source.sights.items():
        source.slots[kind].fill_(9)
        for numbers in (sight.tables, sight.first, sight.lows):
            numbers.fill_(7)
        sight.highs.fill_(30)
    cache = Runner(model, LAYOUT, int8=False).cache
    for count in (4, 2, 3):
        static.fill(*source.rows(count, cache))
        for kind, sight in static.sights.items():
            assert static.slots[kind].tolist() == [9] * count + [SCRATCH] * (4 - count)
            assert sight.tables[:, 0].tolist() == [7] * count + [SCRATCH] * (4 - count)
            for numbers, real, padding in ((sight.first, 7, 0), (sight.lows, 7, 0), (sight.highs, 30, 1)):
                assert numbers.tolist() == [real] * count + [padding] * (4 - count)


def test_only_steps_of_one_wanted_row_a_sequence_are_recorded(
    model: Gemma4, monkeypatch: pytest.MonkeyPatch
) -> None:
    static = StaticRows(model.config.text, LAYOUT, 4, torch.zeros(1))
    cache = Runner(model, LAYOUT, int8=False).cache
    larger = StaticRows(model.config.text, LAYOUT, 5, torch.zeros(1))
    taken = larger.rows(4, cache)[1]
    assert static.holds(taken)
    assert not static.holds(larger.rows(5, cache)[1])
    others: list[Step] = []
    for name, value in (("starts", torch.tensor([0, 2, 3, 4])), ("tables", torch.zeros(4, 900))):
        sights = {kind: replace(sight, **{name: value}) for kind, sight in taken.sights.items()}
        others.append(Step(taken.positions, sights, taken.writer, None))
    others.append(Step(taken.positions, taken.sights, taken.writer, torch.tensor([0, 1, 2])))
    assert not any(static.holds(step) for step in others)


def test_a_step_without_memory_for_its_recording_runs_without(
    model: Gemma4, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(run: Run) -> Run:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(runner_module, "recorder_for", lambda model, cache: full)
    first = Runner(model, LAYOUT, int8=False)
    for mine, theirs in drive((first, Runner(model, LAYOUT, int8=False)), 4):
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_without_cuda_nothing_is_recorded(model: Gemma4) -> None:
    assert recorder_for(model, Runner(model, LAYOUT, int8=False).cache) is None


def test_padding_is_at_most_half() -> None:
    assert all(later == 2 * size for size, later in zip(SIZES, SIZES[1:], strict=False))
