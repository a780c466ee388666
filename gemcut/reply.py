"""What comes of a request: pieces as they come, whole replies, completions."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gemcut.engine.logprobs import TokenLogprobs
from gemcut.engine.naive import Token
from gemcut.engine.stop_conditions import FinishReason, StopConditions
from gemcut.prompt.channels import declares_tools
from gemcut.prompt.messages import ToolCall
from gemcut.prompt.parse import ReplyParser, TextDelta, ThoughtDelta, ToolCallMalformed, ToolCallParsed
from gemcut.prompt.text_stream import TextStream
from gemcut.prompt.tokenizer import Tokenizer


@dataclass(frozen=True)
class Usage:
    """Tokens read and made.

    cached_tokens: of the prompt's, those whose keys and values another request had computed.
    thought_tokens: of the completion's, those in thoughts, their marks among them.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    thought_tokens: int = 0


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
    stop_text: which stop text it came to, None where it ended otherwise.
    """

    reason: FinishReason
    usage: Usage
    timing: Timing
    stop_text: str | None = None


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


class ReplyReader:
    """The pieces of one reply, of its tokens as they come.

    prompt_ids: what the model reads for it; only where it declares tools can the reply call any.
    """

    def __init__(
        self, tokenizer: Tokenizer, prompt_ids: Sequence[int], stops: StopConditions, clock: Clock
    ) -> None:
        has_tools = declares_tools(prompt_ids, tokenizer.special)
        self._parser = ReplyParser(tokenizer, prompt_ids, has_tools)
        self._num_prompt = len(prompt_ids)
        self._stops = stops
        self._clock = clock
        self._num_thoughts = 0
        self._waiting: list[TokenLogprobs] = []  # of tokens that gave no piece yet

    @property
    def over(self) -> bool:
        """Whether no token is to follow; `finish` gives the rest."""
        return self._stops.over

    def push(self, token: Token) -> list[Delta]:
        """The pieces that are certain with the reply's next token."""
        self._clock.tick()
        self._stops.push(token.id, token.ends)
        if token.logprobs is not None:
            self._waiting.append(token.logprobs)
        was_thinking = self._parser.is_thinking
        events = [] if self._stops.at_stop_id else self._parser.push(token.id)
        self._num_thoughts += was_thinking or self._parser.is_thinking
        deltas = list(deltas_of(events, self._stops))
        if deltas and self._waiting:
            deltas[0] = replace(deltas[0], logprobs=tuple(self._waiting))
            self._waiting.clear()
        return deltas

    def finish(self, num_cached: int) -> list[Delta]:
        """The last pieces.  num_cached: tokens of the prompt that were not computed for this request."""
        deltas = list(deltas_of(self._parser.finish(), self._stops))
        if rest := self._stops.flush():
            deltas.append(Delta("text", rest))
        usage = Usage(self._num_prompt, self._clock.count, num_cached, self._num_thoughts)
        finish = finish_of(self._stops, usage, self._clock)
        deltas.append(Delta("finish", finish=finish, logprobs=tuple(self._waiting)))
        return deltas


class CompletionReader:
    """The pieces of what follows a raw prompt of so many tokens: all of it is text."""

    def __init__(self, tokenizer: Tokenizer, num_prompt: int, stops: StopConditions, clock: Clock) -> None:
        self._text = TextStream(tokenizer)
        self._num_prompt = num_prompt
        self._stops = stops
        self._clock = clock

    @property
    def over(self) -> bool:
        """Whether no token is to follow; `finish` gives the rest."""
        return self._stops.over

    def push(self, token: Token) -> list[Delta]:
        """The pieces that are certain with the next token."""
        self._clock.tick()
        self._stops.push(token.id, token.ends)
        text = "" if self._stops.at_stop_id else self._stops.show(self._text.push(token.id))
        logprobs = () if token.logprobs is None else (token.logprobs,)
        return [Delta("text", text, logprobs=logprobs)] if text or logprobs else []

    def finish(self, num_cached: int) -> list[Delta]:
        """The last pieces.  num_cached: tokens of the prompt that were not computed for this request."""
        rest = self._stops.show(self._text.finish()) + self._stops.flush()
        usage = Usage(self._num_prompt, self._clock.count, num_cached)
        finish = finish_of(self._stops, usage, self._clock)
        return [*([Delta("text", rest)] if rest else []), Delta("finish", finish=finish)]


def finish_of(stops: StopConditions, usage: Usage, clock: Clock) -> Finish:
    """How what was read until now ended."""
    return Finish(stops.reason, usage, clock.timing(), stops.stop_text)


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
