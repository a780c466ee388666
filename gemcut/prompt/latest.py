"""What was used latest, within so many bytes: what was made once of a medium is not made again."""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Latest(Generic[Value]):
    """Values by their keys; those that were not used for longest go when they exceed `most_bytes`.

    Many threads may use it.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._values: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._held_bytes = 0
        self._lock = Lock()

    def get(self, key: Hashable) -> Value | None:
        """The value, or None where it is not there."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def put(self, key: Hashable, value: Value, num_bytes: int) -> None:
        """Keeps a value of that many bytes, unless it alone exceeds them all."""
        if num_bytes > self._most_bytes:
            return
        with self._lock:
            _, before = self._values.pop(key, (None, 0))
            self._values[key] = value, num_bytes
            self._held_bytes += num_bytes - before
            while self._held_bytes > self._most_bytes:
                _, (_, dropped) = self._values.popitem(last=False)
                self._held_bytes -= dropped
