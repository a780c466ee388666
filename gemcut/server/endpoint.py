"""The life of a request that the model answers: read, wait for a place, run, stream or fold, and end.

Streaming and not streaming are the same events, sent one by one or folded at the end.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from gemcut.errors import GemcutError
from gemcut.reply import Delta
from gemcut.server.body import Disconnected, Kind, Receive, Scope, Send, headers_of
from gemcut.server.fields import read_json
from gemcut.server.models import Served
from gemcut.server.multipart import read_form
from gemcut.server.refusal import Refusal, refusal_of
from gemcut.server.running import Live, Ring, Running, joined
from gemcut.server.serving import Serving
from gemcut.server.sse import HEADERS, PING, Event, to_json, wire

GOODBYE_S = 5.0  # for telling who maybe reads no more, and would be held on to until it goes


class Answer(Protocol):
    """The events of one answer, in one API's shape."""

    end: bytes  # what the wire gets behind the last event

    def start(self) -> list[Event]:
        """What comes before anything of the model."""

    def push(self, number: int, delta: Delta) -> list[Event]:
        """What a piece of that reply gives."""

    def finish(self) -> list[Event]:
        """What comes at the end."""

    def failed(self, refusal: Refusal) -> list[Event]:
        """What ends an answer that cannot go on."""

    def whole(self, events: Sequence[Event]) -> dict[str, Any] | str:
        """The answer that all events add up to, for who does not stream: JSON, or plain text."""


AnyLive = TypeVar("AnyLive", bound=Live)


class Asked(Protocol[AnyLive]):
    """One request in one API's shape, checked."""

    model: str | None
    is_streamed: bool
    subject: str  # the field that holds what the model reads
    log: dict[str, Any]  # what of it the log may tell

    def ask(self, served: Served, ring: Ring) -> list[AnyLive]:
        """Starts it; runs in a worker's thread.  Raises what is wrong with it."""

    def answer(self, served: Served, replies: Sequence[AnyLive]) -> Answer:
        """How its answer is told."""


Reader = Callable[[Any], Asked[Any]]  # of a body's fields; raises Refusal
PARSERS: dict[Kind, Callable[[bytearray, str], Any]] = {  # of a body and its content-type
    "application/json": lambda body, content_type: read_json(body),
    "multipart/form-data": read_form,
}


class Endpoint:
    """A route whose answers the model makes, as an ASGI application.  kind: of the bodies that it takes."""

    def __init__(self, serving: Serving, read: Reader, kind: Kind) -> None:
        self._serving = serving
        self._read = read
        self._kind: Kind = kind
        self._parse = PARSERS[kind]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; what ends without its client ends at once."""
        async with self._serving.bodies.read(scope, receive, self._kind) as body:
            await self._while_there(receive, self._answer(scope, body, send))

    async def _while_there(self, receive: Receive, answer: Coroutine[Any, Any, None]) -> None:
        """Answers as long as the client is there.  Raises Disconnected."""
        answering = asyncio.ensure_future(answer)
        leaving = asyncio.ensure_future(_until_gone(receive))
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise Disconnected
            answering.result()
        finally:
            for task in (answering, leaving):
                task.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)

    async def _answer(self, scope: Scope, body: bytearray, send: Send) -> None:
        serving = self._serving
        if serving.options.log_prompts and self._kind == "application/json":  # recordings are no text
            scope["facts"]["body"] = body.decode(errors="replace")
        kind = headers_of(scope)[b"content-type"].decode("latin-1")
        asked = await serving.in_worker(lambda: self._read(self._parse(body, kind)))
        body.clear()  # what it said is in `asked`, and need not be in memory twice
        served = serving.models.find(asked.model)
        scope["facts"].update(asked.log, model=served.name, stream=asked.is_streamed)
        exchange = _Exchange(serving, served, asked, send, scope["facts"])
        try:
            async with asyncio.timeout(serving.options.request_s), serving.admission.place():
                await exchange.run()
        except TimeoutError:
            refusal = Refusal(
                503, f"the request took more than {serving.options.request_s:g} s", code="timeout"
            )
            await exchange.fail(refusal)
        except GemcutError as error:
            await exchange.fail(refusal_of(error, asked.subject))
        except Exception:
            if exchange.is_open:
                await exchange.fail(Refusal(500, "the server met a fault of its own", code="internal_error"))
            raise


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, serving: Serving, served: Served, asked: Asked[Any], send: Send, facts: dict[str, Any]
    ) -> None:
        self._serving = serving
        self._served = served
        self._asked = asked
        self._send = send
        self._facts = facts
        self._answer: Answer | None = None  # once the replies are under way
        self.is_open = False  # whether a stream's head was sent
        self._sent_s = 0.0

    async def run(self) -> None:
        running = Running(self._serving.bell())
        try:
            await running.start(lambda ring: self._asked.ask(self._served, ring), self._serving.workers)
            self._answer = self._asked.answer(self._served, running.replies)
            if self._asked.is_streamed:
                await self._stream(running, self._answer)
            else:
                await self._whole(running, self._answer)
        finally:
            running.close()

    async def fail(self, refusal: Refusal) -> None:
        """Tells the client what went wrong.  Raises the refusal where nothing was sent yet, Disconnected."""
        if not self.is_open or self._answer is None:
            raise refusal
        self._facts["error"] = refusal.code
        try:
            async with asyncio.timeout(GOODBYE_S):
                await self._write(wire(self._answer.failed(refusal)), is_more=False)
        except TimeoutError:
            raise Disconnected from None

    async def _stream(self, running: Running, answer: Answer) -> None:
        await self._send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        self.is_open = True
        await self._write(wire(answer.start()))
        ping_s = self._serving.options.ping_s
        ticker = _Ticker(running, ping_s)
        try:
            async for pieces in running.pieces():
                events = [event for piece in pieces for event in self._push(answer, *piece)]
                if events:
                    await self._write(wire(events))
                elif ticker.now() - self._sent_s >= ping_s:
                    await self._write(PING)
        finally:
            ticker.stop()
        await self._write(wire(answer.finish()) + answer.end, is_more=False)

    async def _whole(self, running: Running, answer: Answer) -> None:
        pieces = [piece async for some in running.pieces() for piece in some]
        events = answer.start()
        for piece in joined(pieces):
            events += self._push(answer, *piece)
        whole = answer.whole([*events, *answer.finish()])
        kind = b"text/plain; charset=utf-8" if isinstance(whole, str) else b"application/json"
        body = (whole if isinstance(whole, str) else to_json(whole)).encode()
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def _push(self, answer: Answer, number: int, delta: Delta) -> list[Event]:
        if delta.finish is not None:
            self._serving.metrics.reply(self._served.name, delta.finish)
            usage = delta.finish.usage
            made = self._facts.get("completion_tokens", 0) + usage.completion_tokens
            self._facts.update(
                prompt_tokens=usage.prompt_tokens,
                cached_tokens=usage.cached_tokens,
                completion_tokens=made,
                finish=delta.finish.reason,
                first_token_s=round(delta.finish.timing.first_token_s, 4),
            )
        if delta.kind == "malformed_call":  # which nobody is sent, as no API has a place for it
            self._facts["malformed_calls"] = self._facts.get("malformed_calls", 0) + 1
        return answer.push(number, delta)

    async def _write(self, data: bytes, is_more: bool = True) -> None:
        self._sent_s = asyncio.get_running_loop().time()
        await self._send({"type": "http.response.body", "body": data, "more_body": is_more})


class _Ticker:
    """Wakes who reads a request's pieces now and then, so that silence is noticed."""

    def __init__(self, running: Running, every_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._running = running
        self._every_s = every_s
        self._handle = self._loop.call_later(every_s, self._tick)

    def now(self) -> float:
        return self._loop.time()

    def stop(self) -> None:
        self._handle.cancel()

    def _tick(self) -> None:
        self._running.wake()
        self._handle = self._loop.call_later(self._every_s, self._tick)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
