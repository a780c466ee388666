"""Where words go: the answer to stdout, everything else to stderr, dimmed where that is a terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TextIO

# what a model says must not move the cursor or recolour the terminal
_HARMLESS = dict.fromkeys({*range(32), 127, *range(128, 160)} - {ord("\n"), ord("\t")}, "\ufffd")
_DIM, _PLAIN = "\x1b[2m", "\x1b[22m"


def is_colourful(stream: TextIO) -> bool:
    """Whether a stream shows colours: a terminal, and the user did not say NO_COLOR."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Screen:
    """Prints an answer piece by piece as it comes; text and thoughts each begin a line of their own."""

    def __init__(self) -> None:
        self._open: Literal["text", "thought"] | None = None  # the kind of line that has no end yet

    def text(self, piece: str) -> None:
        """Prints a piece of the answer."""
        self._begin("text")
        sys.stdout.write(piece.translate(_HARMLESS) if sys.stdout.isatty() else piece)
        sys.stdout.flush()

    def thought(self, piece: str) -> None:
        """Prints a piece of a thought."""
        self._begin("thought")
        self._dimmed(piece)

    def text_line(self, line: str) -> None:
        """Prints a line of the answer on its own: a call."""
        self.end()
        self.text(line)
        self.end()

    def note(self, line: str) -> None:
        """Prints a line about what happens: timings, errors, what a command did."""
        self.end()
        self._dimmed(line + "\n")

    def end(self) -> None:
        """Ends the line that is open."""
        if self._open is not None:
            stream = sys.stdout if self._open == "text" else sys.stderr
            stream.write("\n")
            stream.flush()
            self._open = None

    def error(self, error: Exception) -> None:
        """Prints what went wrong, in one line that is not dimmed."""
        self.end()
        print("error:", " ".join(str(error).split()), file=sys.stderr)

    @contextmanager
    def waiting(self, line: str) -> Iterator[None]:
        """Shows a line on a terminal until the block is done."""
        self.end()
        if sys.stderr.isatty():
            self._dimmed(line)
        try:
            yield
        finally:
            self.clear()

    def passing(self, line: str) -> None:
        """Shows a line on a terminal until the next such line, or until `clear`."""
        self.end()
        self.clear()
        if sys.stderr.isatty():
            self._dimmed(line)

    def clear(self) -> None:
        """Takes away the line that was shown on a terminal."""
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _begin(self, kind: Literal["text", "thought"]) -> None:
        if self._open != kind:
            self.end()
            self._open = kind

    def _dimmed(self, text: str) -> None:
        shown = text.translate(_HARMLESS) if sys.stderr.isatty() else text
        sys.stderr.write(f"{_DIM}{shown}{_PLAIN}" if is_colourful(sys.stderr) else shown)
        sys.stderr.flush()
