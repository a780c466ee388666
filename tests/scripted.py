"""A model that says what a script has it say, for tests of what stands above the model."""

from collections.abc import Iterator, Sequence
from typing import Any

from gemcut.prompt.messages import Message, ToolCall
from gemcut.reply import Delta, Finish, Timing, Usage


def says(text: str, thoughts: str = "") -> list[Delta]:
    """A reply of thoughts and text, in pieces."""
    pieces = [Delta("thought", thoughts)] if thoughts else []
    return [*pieces, *(Delta("text", part) for part in text.split("|")), _finish("stop")]


def calls(*wanted: tuple[str, dict[str, Any]], thoughts: str = "") -> list[Delta]:
    """A reply that calls tools."""
    pieces = [Delta("thought", thoughts)] if thoughts else []
    made = [Delta("tool_call", tool_call=ToolCall(name, arguments)) for name, arguments in wanted]
    return [*pieces, *made, _finish("tool_calls")]


def breaks_off(*pieces: Delta, reason: str = "length") -> list[Delta]:
    """A reply that ends where it should not."""
    return [*pieces, _finish(reason)]


def _finish(reason: Any) -> Delta:
    return Delta("finish", finish=Finish(reason, Usage(10, 4, 2), Timing(0.5, 20.0)))


class Scripted:
    """Gives the scripted replies one after the other, and remembers what it was told.

    refuses: what its prompt raises for parts of a message.
    """

    def __init__(self, *script: list[Delta], refuses: Exception | None = None) -> None:
        self._script = list(script)
        self._refuses = refuses
        self.told: list[list[Message]] = []
        self.options: list[dict[str, Any]] = []

    def stream(self, messages: Sequence[Message], **options: Any) -> Iterator[Delta]:
        self.told.append(list(messages))
        self.options.append(options)
        yield from self._script[len(self.told) - 1]

    def prompt(self, messages: Sequence[Message], **options: Any) -> None:
        if self._refuses is not None:
            raise self._refuses
