"""Responses and conversations that clients may come back to, in memory, the oldest going first."""

import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Any, Literal

from gemcut.server.refusal import Refusal

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

    @property
    def items(self) -> tuple[dict[str, Any], ...]:
        """Everything up to its end."""
        return (*self.before, *self.given, *self.made)


class Store:
    """What is kept, by id; what was not used for longest goes when there are more than `most_bytes`.

    Items are shared by all that goes on from them, and count once, until the last of these goes.
    """

    def __init__(self, most_bytes: int) -> None:
        self.held_bytes = 0
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, Stored] = OrderedDict()
        self._uses: Counter[int] = Counter()  # of each item, by its identity
        self._items: dict[str, dict[str, Any]] = {}  # the latest with each id
        self._lock = threading.Lock()

    def put(self, name: str, stored: Stored) -> None:
        """Keeps it under its id, in place of what was there."""
        with self._lock:
            before = self._kept.pop(name, None)
            self._kept[name] = stored
            self._hold(stored)
            if before is not None:
                self._let_go(before)
            while self.held_bytes > self._most_bytes:
                self._let_go(self._kept.popitem(last=False)[1])

    def find(self, name: str, kind: Kind) -> Stored | None:
        """What is kept under that id, if anything is."""
        with self._lock:
            stored = self._kept.get(name)
            if stored is None or stored.kind != kind:
                return None
            self._kept.move_to_end(name)
            return stored

    def get(self, name: str, kind: Kind) -> Stored:
        """What is kept under that id.  Raises Refusal 404."""
        stored = self.find(name, kind)
        if stored is None:
            text = f"there is no {kind} {name!r}: it was never stored, or has been dropped"
            raise Refusal(404, text, code="not_found")
        return stored

    def delete(self, name: str, kind: Kind) -> None:
        """Forgets it.  Raises Refusal 404."""
        self.get(name, kind)
        with self._lock:
            if (stored := self._kept.pop(name, None)) is not None:
                self._let_go(stored)

    def resolved(self, item: dict[str, Any]) -> dict[str, Any]:
        """The item, or, of a reference, what it refers to in anything stored.  Raises Refusal 404."""
        if item["type"] != "item_reference":
            return item
        name = item["id"]
        with self._lock:
            known = self._items.get(name)
        if known is None:
            raise Refusal(404, f"there is no item {name!r}", param="input", code="not_found")
        return known

    def _hold(self, stored: Stored) -> None:
        self.held_bytes += num_bytes(stored.shown)
        for item in stored.items:
            self._uses[id(item)] += 1
            if self._uses[id(item)] == 1:
                self.held_bytes += num_bytes(item)
                self._items[item["id"]] = item

    def _let_go(self, stored: Stored) -> None:
        self.held_bytes -= num_bytes(stored.shown)
        for item in stored.items:
            self._uses[id(item)] -= 1
            if self._uses[id(item)] == 0:
                del self._uses[id(item)]
                self.held_bytes -= num_bytes(item)
                if self._items.get(item["id"]) is item:
                    del self._items[item["id"]]


def num_bytes(value: Any) -> int:
    """About how many bytes of memory a JSON value takes; its texts are not copied to find out."""
    match value:
        case str():
            return 50 + len(value)
        case dict():
            return 100 + sum(num_bytes(key) + num_bytes(item) for key, item in value.items())
        case list() | tuple():
            return 60 + sum(map(num_bytes, value))
    return 30
