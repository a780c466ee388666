"""Replies of another thread, read in an event loop."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gemcut import Gemma, SamplingParams
from gemcut.engine.logprobs import TokenLogprobs
from gemcut.errors import PromptTooLong
from gemcut.many import Question
from gemcut.prompt.messages import ToolCall
from gemcut.reply import Delta, Finish, Timing, Usage
from gemcut.server.running import Bell, Running, joined

PARAMS = SamplingParams(max_tokens=20)


def test_no_ring_is_lost_however_threads_meet() -> None:
    async def work() -> None:
        bell = Bell(asyncio.get_running_loop())
        events = [asyncio.Event() for _ in range(8)]
        rounds = 300

        def ring_all() -> None:
            for _ in range(rounds):
                for event in events:
                    bell.ring(event)

        thread = threading.Thread(target=ring_all)
        thread.start()
        while thread.is_alive():
            await asyncio.wait_for(events[0].wait(), 5)
            events[0].clear()
            await asyncio.sleep(0)
            if not thread.is_alive():
                break
            bell.ring(events[0])
        for event in events:
            event.clear()
        for event in events:
            bell.ring(event)
        await asyncio.wait_for(asyncio.gather(*(event.wait() for event in events)), 5)

    asyncio.run(work())


def test_a_closed_loop_is_rung_in_vain() -> None:
    loop = asyncio.new_event_loop()
    bell = Bell(loop)
    loop.close()
    for _ in range(3):
        bell.ring(asyncio.Event())
    assert not bell._rung


def test_texts_that_follow_on_each_other_are_joined_reply_by_reply() -> None:
    scores = [TokenLogprobs(number, -1.0, ()) for number in range(3)]
    finish = Delta("finish", finish=Finish("stop", Usage(1, 1, 0), Timing(0.1, 1)))
    call = Delta("tool_call", tool_call=ToolCall("f", {}))
    pieces = [
        (0, Delta("thought", "so")),
        (1, Delta("text", "x")),
        (0, Delta("thought", " it is")),
        (0, Delta("text", "a", logprobs=(scores[0], scores[1]))),
        (1, call),
        (1, call),
        (0, Delta("text", "b", logprobs=(scores[2],))),
        (1, Delta("text", "y")),
        (0, finish),
        (1, finish),
    ]
    assert list(joined(pieces)) == [
        (0, Delta("thought", "so it is")),
        (0, Delta("text", "ab", logprobs=tuple(scores))),
        (0, finish),
        (1, Delta("text", "x")),
        (1, call),
        (1, call),
        (1, Delta("text", "y")),
        (1, finish),
    ]


def test_the_pieces_are_those_of_the_stream(tiny: Gemma) -> None:
    async def work() -> str:
        running = Running(Bell(asyncio.get_running_loop()))
        with ThreadPoolExecutor(1) as workers:
            await running.start(lambda ring: tiny.live(Question("Hi", {"sampling": PARAMS}), ring), workers)
            found = [delta async for pieces in running.pieces() for _, delta in pieces]
        assert found[-1].finish is not None
        return "".join(delta.text for delta in found)

    assert asyncio.run(work()) == tiny.reply("Hi", sampling=PARAMS).text


def test_what_is_wrong_with_a_request_is_raised_where_it_is_started(tiny: Gemma) -> None:
    async def work() -> None:
        running = Running(Bell(asyncio.get_running_loop()))
        with ThreadPoolExecutor(1) as workers, pytest.raises(PromptTooLong):
            await running.start(lambda ring: tiny.live(Question("a" * 999), ring), workers)

    asyncio.run(work())


def test_who_gives_up_at_the_start_leaves_nothing_running(tiny: Gemma) -> None:
    async def work() -> None:
        running = Running(Bell(asyncio.get_running_loop()))
        may_start = threading.Event()

        def ask(ring: object) -> list[object]:
            may_start.wait(10)
            return tiny.live(Question("Hi"), lambda: None)  # type: ignore[return-value]

        with ThreadPoolExecutor(1) as workers:
            starting = asyncio.ensure_future(running.start(ask, workers))  # type: ignore[arg-type]
            await asyncio.sleep(0.05)
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            may_start.set()
        for _ in range(500):
            if tiny.occupancy().running + tiny.occupancy().waiting == 0:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the reply runs on")

    asyncio.run(work())
