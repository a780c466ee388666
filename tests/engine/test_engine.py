"""The engine's thread: many callers, and what goes wrong for one of them or for all."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gemcut.engine.constraint import Constraint
from gemcut.engine.engine import Engine
from gemcut.engine.job import Choice, Job
from gemcut.engine.memory import plan_memory
from gemcut.engine.naive import score_prompt
from gemcut.engine.request import Request
from gemcut.engine.runner import Runner
from gemcut.engine.sampling_params import Sampling
from gemcut.engine.scheduler import Limits
from gemcut.engine.stop_conditions import StopConditions
from gemcut.engine.token_stream import TokenStream
from gemcut.errors import EngineFailed, RequestTooLarge
from gemcut.model.gemma4 import Gemma4
from tests.parity.tiny import EDGE, fill, greedy, model_config

GREEDY = Sampling(temperature=0)
NO_MEDIA = torch.empty(0, 1)
WORDS = -(-EDGE.vocab_size // 32)


@pytest.fixture(scope="module")
def model() -> Gemma4:
    model = Gemma4(model_config(EDGE)).requires_grad_(False)
    fill(model, seed=0)
    return model.double()


def engine_of(model: Gemma4, pages: int = 400, limits: Limits | None = None) -> Engine:
    limits = Limits(step_tokens=64, max_running=8) if limits is None else limits
    roomy = plan_memory(EDGE, 10**8, 8, 4, limits)
    layout = replace(roomy.layout, full_pages=pages, sliding_pages=pages)
    return Engine(Runner(model, layout, int8=False), replace(roomy, layout=layout), limits)


@pytest.fixture
def engine(model: Gemma4) -> Iterator[Engine]:
    engine = engine_of(model)
    yield engine
    engine.close()


def job(number: int, prompt: Sequence[int], length: int, samples: int = 1, **choice: Any) -> Job:
    request = Request(id=number, prompt_ids=tuple(prompt), max_tokens=length, num_samples=samples)
    choices = [Choice(GREEDY, StopConditions(max_tokens=length), **choice) for _ in range(samples)]
    return Job(request, tuple(choices), NO_MEDIA)


def prompt_of(number: int, length: int = 30) -> list[int]:
    return [17 + (number * 31 + place * 7) % 200 for place in range(length)]


def ids(stream: TokenStream) -> list[int]:
    return [token.id for token in stream]


def idle_pages(engine: Engine) -> tuple[int, int]:
    """Pages of both pools that can be had."""
    pages = engine._loop._scheduler.pages
    return pages.full.available, pages.sliding.available


def wait_until(done: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(2000):
        if done():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not come about in 20 s")


class Broken(Constraint):
    """A constraint that fails at a certain token."""

    restricts = True
    forced = ()

    def __init__(self, masks: int) -> None:
        self.left = masks

    def mask(self) -> Tensor:
        self.left -= 1
        if self.left < 0:
            raise ArithmeticError("the grammar is broken")
        return torch.full((WORDS,), -1, dtype=torch.int32)

    def advance(self, token_id: int) -> None: ...

    @property
    def ended(self) -> bool:
        return False


def test_many_callers_get_what_each_would_get_alone(model: Gemma4, engine: Engine) -> None:
    got: dict[int, list[int]] = {}

    def ask(number: int) -> None:
        got[number] = ids(engine.submit(job(number, prompt_of(number), 5 + number % 7))[0])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {number: greedy(model, prompt_of(number), 5 + number % 7) for number in range(20)}


def test_a_memory_of_few_pages_takes_longer_and_loses_nothing(model: Gemma4) -> None:
    engine = engine_of(model, pages=24)
    streams = [engine.submit(job(number, prompt_of(number), 30))[0] for number in range(6)]
    assert [ids(stream) for stream in streams] == [greedy(model, prompt_of(n), 30) for n in range(6)]
    engine.close()


def test_the_samples_of_a_request_are_streams_of_their_own(model: Gemma4, engine: Engine) -> None:
    streams = engine.submit(job(1, prompt_of(1), 9, samples=3))
    assert [ids(stream) for stream in streams] == [greedy(model, prompt_of(1), 9)] * 3


def test_a_stream_that_is_closed_gives_its_pages_back(engine: Engine) -> None:
    before = idle_pages(engine)
    stream = engine.submit(job(1, prompt_of(1), 900))[0]
    next(stream)
    assert idle_pages(engine) != before
    stream.close()
    assert list(stream) == []
    wait_until(lambda: idle_pages(engine) == before)


def test_what_cannot_run_even_alone_is_refused_at_once(engine: Engine) -> None:
    with pytest.raises(RequestTooLarge, match="raise the engine's cache_bytes"):
        engine.submit(job(1, prompt_of(1), 10**6))


@pytest.mark.parametrize("masks", [0, 3])
def test_a_fault_in_one_request_ends_that_request_alone(model: Gemma4, engine: Engine, masks: int) -> None:
    good = engine.submit(job(1, prompt_of(1), 40))[0]
    bad = engine.submit(job(2, prompt_of(2), 40, constraint=Broken(masks)))[0]
    made: list[int] = []
    with pytest.raises(ArithmeticError, match="the grammar is broken"):
        made.extend(token.id for token in bad)
    assert made == greedy(model, prompt_of(2), 40)[:masks]
    assert ids(good) == greedy(model, prompt_of(1), 40)
    again = engine.submit(job(3, prompt_of(2), 40))[0]
    assert ids(again) == greedy(model, prompt_of(2), 40)


def test_a_loop_that_fails_tells_all_who_wait_and_all_who_come(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter(range(3))

    def failing(planned: Any, hidden: Any, **_: Any) -> None:
        if next(steps, None) is None:
            raise ArithmeticError("a bug of ours")

    monkeypatch.setattr(engine._loop, "_score", failing)
    streams = [engine.submit(job(number, prompt_of(number), 40))[0] for number in range(12)]
    for stream in streams:  # 8 run, 4 wait
        with pytest.raises(EngineFailed, match="a bug of ours; load the model anew"):
            ids(stream)
    with pytest.raises(EngineFailed, match="a bug of ours"):
        engine.submit(job(99, prompt_of(1), 5))


def test_closing_ends_all_who_wait(engine: Engine) -> None:
    stream = engine.submit(job(1, prompt_of(1), 900))[0]
    next(stream)
    engine.close()
    with pytest.raises(EngineFailed, match="it was closed"):
        ids(stream)


def test_a_step_without_enough_memory_is_run_in_smaller_ones(
    model: Gemma4, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, tried = engine._loop._runner.run, []

    def short_of_memory(planned: Any, soft: Any) -> Any:
        tried.append(sum(len(rows.ids) for rows in planned))
        if tried[-1] > 10:
            raise torch.OutOfMemoryError("out of memory")
        return run(planned, soft)

    monkeypatch.setattr(engine._loop._runner, "run", short_of_memory)
    streams = [engine.submit(job(number, prompt_of(number), 12))[0] for number in range(4)]
    assert [ids(stream) for stream in streams] == [greedy(model, prompt_of(n), 12) for n in range(4)]
    assert max(tried) > 10


def test_what_memory_never_suffices_for_fails_alone(
    model: Gemma4, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = engine._loop._runner.run

    def short_of_memory(planned: Any, soft: Any) -> Any:
        if any(rows.progress.request.id == 2 for rows in planned):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 7 bytes")
        return run(planned, soft)

    monkeypatch.setattr(engine._loop._runner, "run", short_of_memory)
    bad = engine.submit(job(2, prompt_of(2), 5))[0]
    with pytest.raises(RequestTooLarge, match="memory does not suffice"):
        ids(bad)
    good = engine.submit(job(3, prompt_of(3), 5))[0]
    assert ids(good) == greedy(model, prompt_of(3), 5)


def test_a_prompt_s_scores_are_the_naive_loop_s_also_where_it_is_read_twice(model: Gemma4) -> None:
    engine = engine_of(model, pages=24, limits=Limits(step_tokens=16, max_running=4))
    others = [engine.submit(job(number, prompt_of(number), 30))[0] for number in range(3)]
    asked = job(9, prompt_of(9, 40), 20)
    asked = replace(asked, request=replace(asked.request, score_prompt=True), prompt_logprobs=2)
    (stream,) = engine.submit(asked)
    assert ids(stream) == greedy(model, prompt_of(9, 40), 20)
    want = score_prompt(model, prompt_of(9, 40), NO_MEDIA, 2)
    assert [item.token_id for item in stream.prompt_logprobs] == [item.token_id for item in want]
    for got, right in zip(stream.prompt_logprobs, want, strict=True):
        assert got.logprob == pytest.approx(right.logprob, abs=1e-9)
        assert [token_id for token_id, _ in got.top] == [token_id for token_id, _ in right.top]
    assert [ids(stream) for stream in others] == [greedy(model, prompt_of(n), 30) for n in range(3)]
    engine.close()
