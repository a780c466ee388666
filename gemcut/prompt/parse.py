"""Token ids of a reply → text, thoughts and tool calls, as they come.

Marks of channels, calls and turns are single tokens, so they are never taken for text, and text that
looks like a mark is never taken for one. The states are those of `channels`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gemcut.prompt.call_syntax import MalformedCall, Quoted, call_name, parse_call
from gemcut.prompt.channels import ChannelState, entered_state, open_tail
from gemcut.prompt.messages import ToolCall
from gemcut.prompt.text_stream import TextStream
from gemcut.prompt.tokenizer import Tokenizer

THOUGHT_HEADER = "thought\n"


@dataclass(frozen=True)
class TextDelta:
    """More of the answer."""

    text: str


@dataclass(frozen=True)
class ThoughtDelta:
    """More of the thoughts."""

    text: str


@dataclass(frozen=True)
class ToolCallStarted:
    """A call has begun and its name is known; its end is a ToolCallParsed or a ToolCallMalformed."""

    name: str


@dataclass(frozen=True)
class ToolCallParsed:
    """A whole call."""

    call: ToolCall


@dataclass(frozen=True)
class ToolCallMalformed:
    """A call that does not follow the syntax.

    raw: what stood between `<|tool_call>` and `<tool_call|>`, control tokens written out.
    problem: what is wrong with it.
    """

    raw: str
    problem: str


Event: TypeAlias = TextDelta | ThoughtDelta | ToolCallStarted | ToolCallParsed | ToolCallMalformed


class ReplyParser:
    """The events of one reply.

    prompt_ids: what the model read. Templates may leave a thought channel open at its end (after a tool's
    response, with thinking on), and then the reply begins within the thought.
    has_tools: whether there is anything to call; else what looks like a call is text.

    Thoughts come without the word `thought` and the line breaks that belong to the marks. A thought that
    the model never closes stays a thought: the ids say nothing else, and whoever wants an answer must force
    the mark. A call that lacks only its closing mark counts as whole.
    """

    def __init__(self, tokenizer: Tokenizer, prompt_ids: Sequence[int] = (), has_tools: bool = True) -> None:
        self._tokenizer = tokenizer
        self._special = tokenizer.special
        self._has_tools = has_tools
        self._stream = TextStream(tokenizer)
        self._state: ChannelState = "text"
        self._header = ""  # of a thought or call: its text as long as that is not known to be over
        self._in_header = False
        self._line_break = ""  # of a thought: held, because the one before <channel|> belongs to the mark
        self._body: list[int] = []  # of a call
        for token_id in open_tail(prompt_ids, self._special):
            self.push(token_id)

    def push(self, token_id: int) -> list[Event]:
        """The events that are certain with this token."""
        if self._state == "ended":
            return []
        entered = entered_state(self._state, token_id, self._special, self._has_tools)
        if entered is not None:
            return self._enter(entered)
        if self._state == "call":
            return self._push_call(token_id)
        return self._deltas(self._stream.push(token_id))

    @property
    def is_thinking(self) -> bool:
        """Whether the next token belongs to a thought."""
        return self._state == "thought"

    @property
    def ended(self) -> bool:
        """Whether the reply is over: all further ids are ignored."""
        return self._state == "ended"

    def finish(self) -> list[Event]:
        """The events of what is still held; the reply is over."""
        return self._enter("ended")

    def _enter(self, state: ChannelState) -> list[Event]:
        """Close what is open, and start the state."""
        events = self._whole_call() if self._state == "call" else self._deltas(self._stream.finish())
        self._state = state
        self._header, self._in_header = "", state in ("thought", "call")
        self._line_break = ""
        self._body = []
        return events

    def _deltas(self, text: str) -> list[Event]:
        if self._state == "text":
            return [TextDelta(text)] if text else []
        if self._in_header:
            self._header += text
            if THOUGHT_HEADER.startswith(self._header):
                return []
            self._in_header = False
            text = self._header.removeprefix(THOUGHT_HEADER)
        text = self._line_break + text
        self._line_break = "\n" if text.endswith("\n") else ""
        text = text.removesuffix("\n")
        return [ThoughtDelta(text)] if text else []

    def _push_call(self, token_id: int) -> list[Event]:
        self._body.append(token_id)
        if not self._in_header:
            return []
        self._header += self._stream.push(token_id)
        self._in_header = "{" not in self._header and token_id != self._special.quote
        name = call_name(self._header)
        return [] if name is None else [ToolCallStarted(name)]

    def _whole_call(self) -> list[Event]:
        self._stream.finish()
        try:
            name, arguments = parse_call(self._call_parts())
        except MalformedCall as error:
            return [ToolCallMalformed(self._tokenizer.decode(self._body, special=True), str(error))]
        return [ToolCallParsed(ToolCall(name, arguments))]

    def _call_parts(self) -> list[str | Quoted]:
        """The call's text, cut at its quote tokens; every second stretch is a string."""
        stretches: list[list[int]] = [[]]
        for token_id in self._body:
            if token_id == self._special.quote:
                stretches.append([])
            else:
                stretches[-1].append(token_id)
        if len(stretches) % 2 == 0:
            raise MalformedCall("its last string is not closed")
        texts = [self._tokenizer.decode(stretch, special=True) for stretch in stretches]
        return [Quoted(text) if number % 2 else text for number, text in enumerate(texts)]
