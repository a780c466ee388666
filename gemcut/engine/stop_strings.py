"""Stop texts that may straddle tokens: text is held back while it could be the beginning of one."""

from collections.abc import Sequence


class StopStrings:
    """Lets text through until one of `stops` is complete; that text and all behind it is dropped.

    The stop that is complete first counts, so the result does not depend on how the text is cut into pieces.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = tuple(stops)
        self.found: str | None = None  # the stop that ended the text
        self._held = ""

    def push(self, text: str) -> str:
        """The part of the text so far that can be shown; empty once a stop was found."""
        if not self.stops:
            return text
        if self.found is not None:
            return ""
        self._held += text
        ends = [
            (place + len(stop), place, stop) for stop in self.stops if (place := self._held.find(stop)) >= 0
        ]
        if ends:
            _, place, self.found = min(ends)
            return self._release(place)
        return self._release(len(self._held) - self._open())

    def finish(self) -> str:
        """What was held back, where no more text follows on it."""
        return "" if self.found is not None else self._release(len(self._held))

    def _release(self, length: int) -> str:
        shown, self._held = self._held[:length], self._held[length:]
        return shown

    def _open(self) -> int:
        """How many characters at the end could begin a stop."""
        return max(
            (
                size
                for stop in self.stops
                for size in range(1, min(len(stop), len(self._held) + 1))
                if self._held.endswith(stop[:size])
            ),
            default=0,
        )
