"""A request's body, neither too large nor too slow, and its JSON."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gemcut.server.options import MB, ServerOptions
from gemcut.server.refusal import Refusal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Disconnected(Exception):
    """The client has gone: nobody is to be told anything."""


async def read_body(scope: Scope, receive: Receive, options: ServerOptions) -> bytes:
    """The body of a JSON request.

    Raises Refusal 413, 408, 415, and Disconnected.
    """
    headers = {name.lower(): value for name, value in scope["headers"]}
    kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if kind != b"application/json":  # a browser sends any other kind for strange pages without asking us
        shown = kind.decode("latin-1") or "missing"
        raise Refusal(415, f"the content-type is {shown}; send application/json", code="not_json")
    try:
        async with asyncio.timeout(options.body_s):
            return await _read(receive, headers.get(b"content-length", b""), options.most_body_bytes)
    except TimeoutError:
        raise Refusal(408, f"the body took more than {options.body_s:g} s", code="slow_body") from None


async def _read(receive: Receive, promised: bytes, most: int) -> bytes:
    body = bytearray()
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
            raise Refusal(
                413,
                f"the body has {size:,} bytes and {most:,} are the most; make it smaller",
                code="too_large",
            )
        body += part
    return bytes(body)


async def _pass_over(receive: Receive, is_more: bool, most: int) -> None:
    """Reads a little of what is too large, so that a client still at sending gets to read our answer."""
    left = max(most, MB)
    while is_more and left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        is_more = message.get("more_body", False)
