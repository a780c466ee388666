"""Events on the wire: server-sent events, as OpenAI's and Anthropic's clients read them."""

from collections.abc import Iterable
from dataclasses import dataclass
from json import JSONEncoder
from typing import Any

PING = b": ping\n\n"  # a comment: clients pass over it
DONE = b"data: [DONE]\n\n"
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold pieces back
]
to_json = JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


@dataclass(frozen=True)
class Event:
    """One event.  name: where the API names its events, else None."""

    data: dict[str, Any]
    name: str | None = None


def wire(events: Iterable[Event]) -> bytes:
    """The bytes of events."""
    lines = [
        f"data: {to_json(event.data)}\n\n"
        if event.name is None
        else f"event: {event.name}\ndata: {to_json(event.data)}\n\n"
        for event in events
    ]
    return "".join(lines).encode()
