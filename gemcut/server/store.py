"""Responses and conversations that clients may come back to, in memory, the oldest going first."""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Literal

from gemcut.server.refusal import Refusal
from gemcut.server.sse import to_json

Kind = Literal["response", "conversation"]


@dataclass(eq=False)
class Stored:
    """A response or a conversation.

    shown: as clients are shown it.  before: what the model read before its own input.  given, made: the items
    that went in and came out; a conversation has all of its items in `given`.
    """

    kind: Kind
    shown: dict[str, Any]
    before: tuple[dict[str, Any], ...] = ()
    given: tuple[dict[str, Any], ...] = ()
    made: tuple[dict[str, Any], ...] = ()
    created: float = field(default_factory=time.time)

    @property
    def items(self) -> tuple[dict[str, Any], ...]:
        """Everything up to its end."""
        return (*self.before, *self.given, *self.made)


class Store:
    """What is kept, by id; what was not used for longest goes when there are more than `most_bytes`."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, tuple[Stored, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def put(self, name: str, stored: Stored) -> None:
        """Keeps it under its id, in place of what was there."""
        size = len(to_json({"a": stored.shown, "b": stored.given, "c": stored.made}))
        with self._lock:
            self._drop(name)
            self._kept[name] = stored, size
            self._bytes += size
            while self._bytes > self._most_bytes:
                self._drop(next(iter(self._kept)))

    def get(self, name: str, kind: Kind) -> Stored:
        """What is kept under that id.  Raises Refusal 404."""
        with self._lock:
            stored, _ = self._kept.get(name, (None, 0))
            if stored is None or stored.kind != kind:
                raise Refusal(
                    404,
                    f"there is no {kind} {name!r}: it was never stored, or has been dropped",
                    code="not_found",
                )
            self._kept.move_to_end(name)
            return stored

    def delete(self, name: str, kind: Kind) -> None:
        """Forgets it.  Raises Refusal 404."""
        self.get(name, kind)
        with self._lock:
            self._drop(name)

    def resolved(self, item: dict[str, Any]) -> dict[str, Any]:
        """The item, or, of a reference, what it refers to in anything stored.  Raises Refusal 404."""
        if item["type"] != "item_reference":
            return item
        name = item["id"]
        with self._lock:
            for stored, _ in reversed(self._kept.values()):
                for known in (*stored.made, *stored.given):
                    if known.get("id") == name:
                        return known
        raise Refusal(404, f"there is no item {name!r}", param="input", code="not_found")

    def _drop(self, name: str) -> None:
        _, size = self._kept.pop(name, (None, 0))
        self._bytes -= size
