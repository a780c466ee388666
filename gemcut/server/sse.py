"""Events on the wire: server-sent events, as OpenAI's and Anthropic's clients read them."""

from collections.abc import Iterable
from json import JSONEncoder
from typing import Any, NamedTuple

PING = b": ping\n\n"  # a comment: clients pass over it
DONE = b"data: [DONE]\n\n"
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold pieces back
]
BREAKS = {mark: f"\\u{ord(mark):04x}" for mark in "\x85\u2028\u2029"}  # where some clients, too, cut lines
to_json = JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class Event(NamedTuple):  # one is made for every token, and tuples are made quickly
    """One event.

    name: where the API names its events, else None.  json: of `data`, where it was made another way.
    """

    data: dict[str, Any]
    name: str | None = None
    json: str | None = None


def wire(events: Iterable[Event]) -> bytes:
    """The bytes of events."""
    text = ""
    for data, name, json in events:
        head = "" if name is None else f"event: {name}\n"
        text += f"{head}data: {to_json(data) if json is None else json}\n\n"
    for mark, escape in BREAKS.items():
        text = text.replace(mark, escape)
    return text.encode()
