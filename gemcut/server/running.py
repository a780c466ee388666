"""Replies of the engine's thread, read in the event loop: no thread waits for a token.

The engine rings a bell after each token; the bell wakes the loop once for all replies that a step moved on.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from itertools import chain, groupby
from typing import Protocol

from gemcut.reply import Delta


class Live(Protocol):
    """What comes of a request, as it comes: a `LiveReply`, or what is put together of several."""

    @property
    def ended(self) -> bool:
        """Whether the last piece was taken."""

    def take(self) -> list[Delta]:
        """The pieces that are there since the last time; never waits.  Raises what made the request fail."""

    def close(self) -> None:
        """Ends it."""


Ring = Callable[[], None]  # called from another thread whenever there is a piece
Ask = Callable[[Ring], Sequence[Live]]  # starts a request
Piece = tuple[int, Delta]  # of which of the replies


class Bell:
    """Wakes coroutines of a loop from other threads, many with one call."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._rung: deque[asyncio.Event] = deque()
        self._is_called = False

    def ring(self, news: asyncio.Event) -> None:
        """Sets the event soon, in its own loop; any thread may call."""
        self._rung.append(news)
        if not self._is_called:  # whoever sees it set was in time: what it appended is read after this
            self._is_called = True
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:  # the loop is closed: nobody reads any more
                self._rung.clear()
                self._is_called = False

    def _wake(self) -> None:
        self._is_called = False
        while self._rung:
            self._rung.popleft().set()


class Running:
    """The replies to one request, under way."""

    def __init__(self, bell: Bell) -> None:
        self.replies: Sequence[Live] = ()
        self._bell = bell
        self._news = asyncio.Event()

    async def start(self, ask: Ask, workers: Executor) -> None:
        """Prepares and submits the request in a thread of `workers`.  Raises what is wrong with it."""
        job = workers.submit(ask, lambda: self._bell.ring(self._news))
        try:
            self.replies = await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            job.add_done_callback(_close_all)  # it may be under way, and start what nobody will read
            raise

    def wake(self) -> None:
        """Makes `pieces` give a list, even an empty one."""
        self._news.set()

    async def pieces(self) -> AsyncIterator[list[Piece]]:
        """What there is, each time there is something, until all replies have ended."""
        while not all(reply.ended for reply in self.replies):
            await self._news.wait()
            self._news.clear()
            yield [(number, delta) for number, reply in enumerate(self.replies) for delta in reply.take()]

    def close(self) -> None:
        """Ends what is under way; its memory is free before the engine's next step."""
        for reply in self.replies:
            reply.close()


def joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The same, reply by reply, texts that follow on each other as one, and so thoughts.

    Who reads nothing before the end is spared what each token would cost.
    """
    ordered = sorted(pieces, key=lambda piece: piece[0])
    for (number, kind), group in groupby(ordered, key=lambda piece: (piece[0], piece[1].kind)):
        deltas = [delta for _, delta in group]
        if kind in ("text", "thought"):
            logprobs = tuple(chain.from_iterable(delta.logprobs for delta in deltas))
            deltas = [Delta(kind, "".join(delta.text for delta in deltas), logprobs=logprobs)]
        for delta in deltas:
            yield number, delta


def _close_all(job: Future[Sequence[Live]]) -> None:
    if not job.cancelled() and job.exception() is None:
        for reply in job.result():
            reply.close()
