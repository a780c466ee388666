"""Places for requests: who goes first, who waits, who is sent away."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gemcut.server.admission import Admission
from gemcut.server.refusal import Refusal


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 10))  # type: ignore[arg-type]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Guests:
    """Requests that hold their place until they are let go."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.inside: list[int] = []
        self.leave: dict[int, asyncio.Event] = {}

    def come(self, number: int) -> "asyncio.Task[None]":
        self.leave[number] = asyncio.Event()
        return asyncio.ensure_future(self._stay(number))

    async def _stay(self, number: int) -> None:
        async with self.admission.place():
            self.inside.append(number)
            await self.leave[number].wait()
            self.inside.remove(number)


def test_places_go_to_those_who_came_first() -> None:
    async def work() -> None:
        guests = Guests(Admission(most_in_flight=2, most_waiting=2))
        tasks = [guests.come(number) for number in range(4)]
        await settle()
        assert (guests.inside, guests.admission.waiting) == ([0, 1], 2)
        guests.leave[1].set()
        await settle()
        assert guests.inside == [0, 2]
        for event in guests.leave.values():
            event.set()
        await asyncio.gather(*tasks)
        assert (guests.admission.in_flight, guests.admission.waiting) == (0, 0)

    run(work)


def test_too_many_are_told_when_to_come_again() -> None:
    async def work() -> None:
        guests = Guests(Admission(most_in_flight=1, most_waiting=1))
        tasks = [guests.come(number) for number in range(2)]
        await settle()
        with pytest.raises(Refusal) as refused:
            await guests.come(2)
        assert refused.value.status == 429
        assert 1 <= int(refused.value.headers["retry-after"]) <= 60
        for event in guests.leave.values():
            event.set()
        await asyncio.gather(*tasks)

    run(work)


@pytest.mark.parametrize("leaves_first", [True, False])
def test_who_stops_waiting_takes_no_place(leaves_first: bool) -> None:
    """Also where its turn comes at the very moment at which it goes."""

    async def work() -> None:
        guests = Guests(Admission(most_in_flight=1, most_waiting=9))
        tasks = [guests.come(number) for number in range(3)]
        await settle()
        if leaves_first:
            guests.leave[0].set()
            await asyncio.sleep(0)  # the turn is on its way to the second
        tasks[1].cancel()
        guests.leave[0].set()
        await settle()
        assert guests.inside == [2]
        guests.leave[2].set()
        await tasks[2]
        assert guests.admission.in_flight == 0

    run(work)


def test_at_the_end_nobody_is_let_in_and_those_who_wait_get_their_turn() -> None:
    async def work() -> None:
        guests = Guests(Admission(most_in_flight=1, most_waiting=9))
        tasks = [guests.come(number) for number in range(2)]
        await settle()
        guests.admission.is_draining = True
        with pytest.raises(Refusal) as refused:
            await guests.come(2)
        assert refused.value.status == 503
        for event in guests.leave.values():
            event.set()
        await asyncio.gather(*tasks)
        assert guests.admission.in_flight == 0

    run(work)
