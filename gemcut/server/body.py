"""Bodies of requests: of the right kind, neither too large nor too slow, and not too many at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, Literal

from gemcut.server.hosts import check_page
from gemcut.server.options import MB, ServerOptions
from gemcut.server.refusal import Refusal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Kind = Literal["application/json", "multipart/form-data"]


class Disconnected(Exception):
    """The client has gone: nobody is to be told anything."""


class Bodies:
    """The bodies of all requests under way: together they have an upper bound."""

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self.held_bytes = 0

    @asynccontextmanager
    async def read(
        self, scope: Scope, receive: Receive, kind: Kind = "application/json"
    ) -> AsyncIterator[bytearray]:
        """The body of a request of that kind, which counts as held within the block, whatever becomes of it.

        Raises Refusal 403, 413, 408, 415, 429, and Disconnected.
        """
        headers = headers_of(scope)
        given = headers.get(b"content-type", b"").decode("latin-1").split(";")[0].strip().lower()
        if given != kind:
            raise Refusal(415, f"the content-type is {given or 'missing'}; send {kind}", code="wrong_type")
        if kind != "application/json":  # which alone a browser never sends for strange pages unasked
            check_page(headers, self._options.cors_origins)
        body, held_bytes = bytearray(), 0
        try:
            try:
                async with asyncio.timeout(self._options.body_s):
                    async for part in self._parts(receive, headers.get(b"content-length", b"")):
                        body += part
                        held_bytes += len(part)
                        self.held_bytes += len(part)
            except TimeoutError:
                raise Refusal(
                    408, f"the body took more than {self._options.body_s:g} s", code="slow_body"
                ) from None
            yield body
        finally:
            self.held_bytes -= held_bytes

    async def _parts(self, receive: Receive, promised: bytes) -> AsyncIterator[bytes]:
        """The body as it comes, as long as there is room for it."""
        most = self._options.most_body_bytes
        size = int(promised) if promised.isdigit() else 0
        come, is_more = 0, True
        while is_more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            part, is_more = message.get("body", b""), message.get("more_body", False)
            come += len(part)
            size = max(size, come)
            if size > most:
                await _pass_over(receive, is_more, most)
                text = f"the body has {size:,} bytes and {most:,} are the most; make it smaller"
                raise Refusal(413, text, code="too_large")
            if self.held_bytes + len(part) > self._options.most_held_bytes:
                text = "the bodies of the requests under way fill the memory for them; try again in 1 s"
                raise Refusal(429, text, code="too_many_requests", headers={"retry-after": "1"})
            yield part


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """The headers of a request, their names in small letters."""
    return {name.lower(): value for name, value in scope["headers"]}


async def _pass_over(receive: Receive, is_more: bool, most: int) -> None:
    """Reads a little of what is too large, so that a client still at sending gets to read our answer."""
    left = max(most, MB)
    while is_more and left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        is_more = message.get("more_body", False)
