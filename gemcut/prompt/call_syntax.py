"""The syntax of tool calls, both ways: `call:NAME{city:<|"|>Paris<|"|>,days:[1,2],now:true}`.

Strings stand between quote tokens and are verbatim: nothing in them is escaped or has a meaning. Keys are
bare.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

QUOTE = '<|"|>'
MAX_DEPTH = 100
BLANKS = " \t\r\n"
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(?P<fraction>(\.[0-9]+)?([eE][+-]?[0-9]+)?)")
WORDS = {"true": True, "false": False, "null": None}


@dataclass(frozen=True)
class Quoted:
    """The text between two quote tokens."""

    text: str


class MalformedCall(Exception):
    """The text of a call that does not follow the syntax; it never leaves this package."""


def format_call(name: str, arguments: Mapping[str, Any]) -> str:
    """The call as the chat template prints it, control tokens written out.

    Keys are sorted, without regard to case, as the template does.
    """
    return f"<|tool_call>call:{name}{format_value(arguments)}<tool_call|>"


def format_value(value: Any) -> str:
    """One JSON value in the syntax of calls."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"{QUOTE}{value}{QUOTE}"
    if isinstance(value, Mapping):
        entries = sorted(value.items(), key=lambda entry: entry[0].lower())
        return "{" + ",".join(f"{key}:{format_value(item)}" for key, item in entries) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(format_value, value)) + "]"
    return str(value)


def parse_call(parts: Sequence[str | Quoted]) -> tuple[str, dict[str, Any]]:
    """The name and arguments of a call, of the text between `<|tool_call>` and `<tool_call|>`.

    parts: stretches of text and the quoted strings between them, in order.
    Raises MalformedCall, saying what is wrong.
    """
    reader = _Reader(parts)
    head = reader.text_before("{")
    name = call_name(head + "{")
    if name is None:
        raise MalformedCall(f"it begins with {head!r}, not with call:NAME and a map")
    arguments = reader.map(0)
    reader.skip_blanks()
    if reader.next() is not None:
        raise MalformedCall("it goes on behind the map of its arguments")
    return name, arguments


def call_name(text: str) -> str | None:
    """The name, once the text has come as far as `call:NAME{`; None before that and where it is none."""
    found = re.match(r"\s*call:([^{}]+)\{", text)
    return found[1].strip() if found and found[1].strip() else None


class _Reader:
    """A cursor over the symbols of a call: single characters, and quoted strings whole."""

    def __init__(self, parts: Sequence[str | Quoted]) -> None:
        self._symbols: list[str | Quoted] = []
        for part in parts:
            self._symbols += [part] if isinstance(part, Quoted) else part
        self._at = 0

    def next(self) -> str | Quoted | None:
        """The symbol at the cursor, None at the end."""
        return self._symbols[self._at] if self._at < len(self._symbols) else None

    def skip_blanks(self) -> None:
        while self._at < len(self._symbols) and self._symbols[self._at] in tuple(BLANKS):
            self._at += 1

    def accept(self, character: str) -> bool:
        """Whether the character comes next, blanks aside; if so the cursor moves behind it."""
        self.skip_blanks()
        if self.next() != character:
            return False
        self._at += 1
        return True

    def expect(self, character: str) -> None:
        if not self.accept(character):
            raise MalformedCall(f"{_shown(self.next())} stands where {character!r} should be")

    def text_before(self, ends: str) -> str:
        """The bare text from the cursor to the first of those characters, to a string, or to the end."""
        start = self._at
        while isinstance(symbol := self.next(), str) and symbol not in ends:
            self._at += 1
        return "".join(str(symbol) for symbol in self._symbols[start : self._at])

    def map(self, depth: int) -> dict[str, Any]:
        self.expect("{")
        entries: dict[str, Any] = {}
        if self.accept("}"):
            return entries
        while True:
            key = self.key()
            self.expect(":")
            entries[key] = self.value(depth + 1)  # of equal keys the last counts, as in JSON
            if not self.accept(","):
                self.expect("}")
                return entries

    def key(self) -> str:
        self.skip_blanks()
        symbol = self.next()
        if isinstance(symbol, Quoted):
            self._at += 1
            return symbol.text
        key = self.text_before("{}[],:").strip(BLANKS)
        if not key:
            raise MalformedCall(f"{_shown(self.next())} stands where a key should be")
        return key

    def list(self, depth: int) -> list[Any]:
        self.expect("[")
        items: list[Any] = []
        if self.accept("]"):
            return items
        while True:
            items.append(self.value(depth + 1))
            if not self.accept(","):
                self.expect("]")
                return items

    def value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise MalformedCall(f"it is nested more than {MAX_DEPTH} deep")
        self.skip_blanks()
        symbol = self.next()
        if isinstance(symbol, Quoted):
            self._at += 1
            return symbol.text
        if symbol == "{":
            return self.map(depth)
        if symbol == "[":
            return self.list(depth)
        return _bare(self.text_before("{}[],:").strip(BLANKS))


def _bare(text: str) -> Any:
    """true, false, null or a number; whole numbers stay int."""
    if text in WORDS:
        return WORDS[text]
    found = NUMBER.fullmatch(text)
    if found is None:
        raise MalformedCall(f"{text!r} is no number, no true, false or null, and not quoted")
    if found["fraction"]:
        number = float(text)
        if math.isfinite(number):
            return number
    elif len(text) <= 1000:
        return int(text)
    raise MalformedCall(f"the number {text[:20]}… is too large")


def _shown(symbol: str | Quoted | None) -> str:
    if symbol is None:
        return "the end"
    return "a string" if isinstance(symbol, Quoted) else repr(symbol)
