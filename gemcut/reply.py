"""What comes of a request: pieces as they come, whole replies, completions."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from gemcut.engine.logprobs import TokenLogprobs
from gemcut.engine.stop_conditions import FinishReason, StopConditions
from gemcut.prompt.messages import ToolCall
from gemcut.prompt.parse import TextDelta, ThoughtDelta, ToolCallMalformed, ToolCallParsed


@dataclass(frozen=True)
class Usage:
    """Tokens read and made.

    cached_tokens: of the prompt's, those whose keys and values another request had computed.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


@dataclass(frozen=True)
class Timing:
    """How long a reply took.

    first_token_s: until the first token was there, the prompt's reading included.
    tokens_per_s: of the tokens after the first; 0 where there were none.
    """

    first_token_s: float
    tokens_per_s: float


@dataclass(frozen=True)
class Finish:
    """How a reply ended.

    reason: "stop" at the model's own end or at a stop text, "length" at max_tokens or a full context,
    "tool_calls" where the model waits for the results of its calls.
    """

    reason: FinishReason
    usage: Usage
    timing: Timing


@dataclass(frozen=True)
class Delta:
    """One piece of a reply as it comes.

    kind: "text" and "thought" carry `text`; "tool_call" carries `tool_call`; "malformed_call" carries in
    `text` what the model wrote where a call should be; "finish" comes last and carries `finish`.
    logprobs: where asked for, of the tokens made since the piece before.
    """

    kind: Literal["text", "thought", "tool_call", "malformed_call", "finish"]
    text: str = ""
    tool_call: ToolCall | None = None
    finish: Finish | None = None
    logprobs: tuple[TokenLogprobs, ...] = ()


@dataclass(frozen=True)
class Reply:
    """A whole reply.

    logprobs: where asked for, of every token made, those of thoughts and the closing one too.
    others: the replies after the first where n is more than 1.
    """

    text: str
    thoughts: str
    tool_calls: tuple[ToolCall, ...]
    malformed_calls: tuple[str, ...]
    finish_reason: FinishReason
    usage: Usage
    timing: Timing
    logprobs: tuple[TokenLogprobs, ...]
    others: tuple["Reply", ...]


@dataclass(frozen=True)
class Completion:
    """What follows a raw prompt.

    token_ids: as made, a closing stop token included.
    text: their text without control tokens, ended before a stop text or stop id.
    logprobs: of each token made, where asked for.  prompt_logprobs: of each token of the prompt but the
    first, where asked for.
    others: what follows it after the first where n is more than 1.
    """

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    logprobs: tuple[TokenLogprobs, ...]
    prompt_logprobs: tuple[TokenLogprobs, ...]
    others: tuple["Completion", ...]


def whole_reply(deltas: Iterable[Delta]) -> Reply:
    """What the pieces add up to."""
    pieces = list(deltas)
    finish = pieces[-1].finish
    assert finish is not None, "a stream ends with its finish"
    return Reply(
        text="".join(delta.text for delta in pieces if delta.kind == "text"),
        thoughts="".join(delta.text for delta in pieces if delta.kind == "thought"),
        tool_calls=tuple(delta.tool_call for delta in pieces if delta.tool_call is not None),
        malformed_calls=tuple(delta.text for delta in pieces if delta.kind == "malformed_call"),
        finish_reason=finish.reason,
        usage=finish.usage,
        timing=finish.timing,
        logprobs=tuple(item for delta in pieces for item in delta.logprobs),
        others=(),
    )


class Clock:
    """Counts tokens and when they came."""

    def __init__(self) -> None:
        self.count = 0
        self._start = self._first = self._last = time.perf_counter()

    def again(self) -> "Clock":
        """One with the same start, for another reply to the same request."""
        other = Clock()
        other._start = self._start
        return other

    def tick(self) -> None:
        """A token is here."""
        self._last = time.perf_counter()
        if self.count == 0:
            self._first = self._last
        self.count += 1

    def timing(self) -> Timing:
        """How fast they came."""
        decoding = self._last - self._first
        rate = (self.count - 1) / decoding if decoding > 0 else 0.0
        return Timing(first_token_s=self._first - self._start, tokens_per_s=rate)


def deltas_of(events: Sequence[object], stops: StopConditions) -> Iterator[Delta]:
    """The parser's events as pieces of the reply; stop texts end its text and hide what is behind.

    Text that is held back as a stop's possible beginning is shown before anything that is no text.
    """
    for event in events:
        if not isinstance(event, TextDelta) and (rest := stops.flush()):
            yield Delta("text", rest)
        match event:
            case TextDelta(text):
                if shown := stops.show(text):
                    yield Delta("text", shown)
            case ThoughtDelta(text) if not stops.at_stop_text:
                yield Delta("thought", text)
            case ToolCallParsed(call) if not stops.at_stop_text:
                stops.called = True
                yield Delta("tool_call", tool_call=call)
            case ToolCallMalformed(raw, _) if not stops.at_stop_text:
                yield Delta("malformed_call", raw)
