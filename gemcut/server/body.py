"""Bodies of requests: neither too large nor too slow, and not too many at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from gemcut.server.options import MB, ServerOptions
from gemcut.server.refusal import Refusal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Disconnected(Exception):
    """The client has gone: nobody is to be told anything."""


class Bodies:
    """The bodies of all requests under way: together they have an upper bound."""

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self.held_bytes = 0

    @asynccontextmanager
    async def read(self, scope: Scope, receive: Receive) -> AsyncIterator[bytes]:
        """The body of a JSON request, which counts as held within the block.

        Raises Refusal 413, 408, 415, 429, and Disconnected.
        """
        headers = {name.lower(): value for name, value in scope["headers"]}
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if kind != b"application/json":  # a browser sends any other kind for strange pages without asking us
            shown = kind.decode("latin-1") or "missing"
            raise Refusal(415, f"the content-type is {shown}; send application/json", code="not_json")
        body = bytearray()
        try:
            try:
                async with asyncio.timeout(self._options.body_s):
                    await self._read(receive, headers.get(b"content-length", b""), body)
            except TimeoutError:
                raise Refusal(
                    408, f"the body took more than {self._options.body_s:g} s", code="slow_body"
                ) from None
            yield bytes(body)
        finally:
            self.held_bytes -= len(body)

    async def _read(self, receive: Receive, promised: bytes, body: bytearray) -> None:
        """Fills the body, whose bytes are held as they come."""
        most = self._options.most_body_bytes
        size = int(promised) if promised.isdigit() else 0
        is_more = True
        while is_more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            part, is_more = message.get("body", b""), message.get("more_body", False)
            size = max(size, len(body) + len(part))
            if size > most:
                await _pass_over(receive, is_more, most)
                text = f"the body has {size:,} bytes and {most:,} are the most; make it smaller"
                raise Refusal(413, text, code="too_large")
            if self.held_bytes + len(part) > self._options.most_held_bytes:
                text = "the bodies of the requests under way fill the memory for them; try again in 1 s"
                raise Refusal(429, text, code="too_many_requests", headers={"retry-after": "1"})
            body += part
            self.held_bytes += len(part)


async def _pass_over(receive: Receive, is_more: bool, most: int) -> None:
    """Reads a little of what is too large, so that a client still at sending gets to read our answer."""
    left = max(most, MB)
    while is_more and left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        is_more = message.get("more_body", False)
