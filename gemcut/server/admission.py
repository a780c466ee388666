"""How many requests are at work, how many wait, and who is sent away."""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gemcut.server.refusal import Refusal

SHORTEST_S, LONGEST_S = 1, 60  # of what Retry-After says
USUAL_S = 5.0  # what a request takes, as long as none is done


class Admission:
    """Places for requests, given out in the order of arrival."""

    def __init__(self, most_in_flight: int, most_waiting: int) -> None:
        self.in_flight = 0
        self.is_draining = False
        self._most_in_flight = most_in_flight
        self._most_waiting = most_waiting
        self._queue: deque[asyncio.Future[None]] = deque()
        self._mean_s = USUAL_S

    @property
    def waiting(self) -> int:
        """Requests without a place."""
        return len(self._queue)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for one request, waited for.  Raises Refusal 429 where too many wait, 503 at the end."""
        if self.is_draining:
            raise Refusal(503, "the server is shutting down; ask another", code="shutting_down")
        await self._enter()
        start = time.monotonic()
        try:
            yield
        finally:
            self._mean_s += 0.1 * (time.monotonic() - start - self._mean_s)
            self._leave()

    async def _enter(self) -> None:
        if self.in_flight < self._most_in_flight and not self._queue:
            self.in_flight += 1
            return
        if self.waiting >= self._most_waiting:
            raise self._full()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()  # its turn had come, and goes to the next
            elif turn in self._queue:
                self._queue.remove(turn)
            raise

    def _leave(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)  # the place goes over; in_flight stays
                return
        self.in_flight -= 1

    def _full(self) -> Refusal:
        wait_s = math.ceil(self._mean_s * (self.waiting + 1) / self._most_in_flight)
        retry = str(min(max(wait_s, SHORTEST_S), LONGEST_S))
        message = f"{self.in_flight} requests are at work and {self.waiting} wait; try again in {retry} s"
        return Refusal(429, message, code="too_many_requests", headers={"retry-after": retry})
