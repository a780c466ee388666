"""`Gemma`: a model in the hands of a Python user."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from gemcut.engine.media_encoder import MediaEncoder
from gemcut.engine.naive import Token, check_prompt, generate
from gemcut.engine.sampling import Sampler, SamplingParams
from gemcut.engine.stop_strings import StopStrings
from gemcut.errors import PromptError
from gemcut.load import Dtype, Loaded, load
from gemcut.model.step import whole_sequences
from gemcut.prompt.assemble import Prompt, PromptFormat, assemble
from gemcut.prompt.latest import Latest
from gemcut.prompt.media import KEPT_BYTES, MediaOptions, MediaReader, Read
from gemcut.prompt.messages import Conversation, ToolCall, with_media
from gemcut.prompt.parse import ReplyParser, TextDelta, ThoughtDelta, ToolCallMalformed, ToolCallParsed
from gemcut.prompt.text_stream import TextStream
from gemcut.prompt.tokenizer import Tokenizer
from gemcut.prompt.tools import Tools

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True)
class Usage:
    """Tokens read and made."""

    prompt_tokens: int
    completion_tokens: int


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
    """

    kind: Literal["text", "thought", "tool_call", "malformed_call", "finish"]
    text: str = ""
    tool_call: ToolCall | None = None
    finish: Finish | None = None


@dataclass(frozen=True)
class Reply:
    """A whole reply."""

    text: str
    thoughts: str
    tool_calls: tuple[ToolCall, ...]
    malformed_calls: tuple[str, ...]
    finish_reason: FinishReason
    usage: Usage
    timing: Timing


@dataclass(frozen=True)
class Completion:
    """What follows a raw prompt.

    token_ids: as made, a closing stop token included.  logprobs: natural log of each one's probability by
    the model.
    text: their text without control tokens, ended before a stop text.
    """

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: FinishReason


class Gemma:
    """A loaded model: replies, streams, completions, logits.

    Between calls it keeps only the latest media, prepared and as soft tokens; many threads may hold one.
    """

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self.config = loaded.config
        self.model = loaded.model
        self._encoder = MediaEncoder(loaded.model)
        self._read_media: Latest[Read] = Latest(KEPT_BYTES)

    @classmethod
    def load(
        cls,
        source: str = "nano",
        *,
        device: str | None = None,
        dtype: Dtype | None = None,
        offline: bool = False,
    ) -> "Gemma":
        """A model by size ("nano", "e2b", "e4b", "12b", "26b", "31b"), hub id or folder.

        device: None takes a GPU where there is one.  dtype: None takes what the checkpoint's config says.
        offline: never ask the network.
        Raises UnknownModel, CheckpointError (with what to do) and BadOption.
        """
        return cls(load(source, device=device, dtype=dtype, offline=offline))

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to ids and back: `encode(text)`, `decode(ids)`."""
        return self._loaded.tokenizer

    def prompt(
        self,
        messages: Conversation,
        *,
        tools: Tools | None = None,
        think: bool = False,
        media: MediaOptions | None = None,
        trust_control_tokens: bool = False,
    ) -> Prompt:
        """Exactly what the model would read for these messages.

        messages: a string, or a list of messages in OpenAI's shape.  tools: JSON schemas or typed functions.
        media: how images, sound and video are read.
        trust_control_tokens: whether strings like `<|turn>` in the messages become control tokens.
        Raises PromptError, BadMedia.
        """
        options = MediaOptions() if media is None else media
        reader = MediaReader(self.config, options, self._read_media)
        form = PromptFormat(self._loaded.tokenizer, self._loaded.template, reader)
        return assemble(messages, tools, think, form, trust_control_tokens)

    def reply(
        self,
        messages: Conversation,
        *,
        images: Sequence[Any] = (),
        audio: Sequence[Any] = (),
        videos: Sequence[Any] = (),
        tools: Tools | None = None,
        think: bool = False,
        media: MediaOptions | None = None,
        sampling: SamplingParams | None = None,
    ) -> Reply:
        """The model's whole answer; see `stream`."""
        conversation = with_media(messages, images, audio, videos)
        deltas = list(self.stream(conversation, tools=tools, think=think, media=media, sampling=sampling))
        finish = deltas[-1].finish
        assert finish is not None, "a stream ends with its finish"
        return Reply(
            text="".join(delta.text for delta in deltas if delta.kind == "text"),
            thoughts="".join(delta.text for delta in deltas if delta.kind == "thought"),
            tool_calls=tuple(delta.tool_call for delta in deltas if delta.tool_call is not None),
            malformed_calls=tuple(delta.text for delta in deltas if delta.kind == "malformed_call"),
            finish_reason=finish.reason,
            usage=finish.usage,
            timing=finish.timing,
        )

    def stream(
        self,
        messages: Conversation,
        *,
        images: Sequence[Any] = (),
        audio: Sequence[Any] = (),
        videos: Sequence[Any] = (),
        tools: Tools | None = None,
        think: bool = False,
        media: MediaOptions | None = None,
        sampling: SamplingParams | None = None,
    ) -> Iterator[Delta]:
        """The model's answer piece by piece, the last piece saying how it ended.

        messages: a string, or a list of messages in OpenAI's shape.  images, audio, videos: paths, URLs,
        bytes, PIL images or arrays that go into the last user's message.  tools: JSON schemas or typed
        functions.  think: let the model think before it answers.  media: how images, sound and video are
        read.  sampling: None takes the model's own defaults.
        Raises PromptError, BadMedia and BadSampling before the first piece.
        """
        clock = _Clock()
        conversation = with_media(messages, images, audio, videos)
        prompt = self.prompt(conversation, tools=tools, think=think, media=media)
        params = SamplingParams() if sampling is None else sampling
        check_prompt(prompt.token_ids, self.config.text.max_position_embeddings, new_tokens=1)
        return self._stream(prompt, params, self._tokens(prompt, params), clock)

    def _stream(
        self, prompt: Prompt, params: SamplingParams, tokens: Iterator[Token], clock: "_Clock"
    ) -> Iterator[Delta]:
        parser = ReplyParser(self.tokenizer, prompt.token_ids)
        stops = StopStrings(params.stop)
        last, called = None, False
        for token in tokens:
            clock.tick()
            last = token.id
            for delta in _deltas(parser.push(token.id), stops):
                called = called or delta.kind == "tool_call"
                yield delta
            if stops.found or parser.ended:
                break
        ended = parser.ended
        for delta in _deltas(parser.finish(), stops):
            called = called or delta.kind == "tool_call"
            yield delta
        if rest := stops.finish():
            yield Delta("text", rest)
        usage = Usage(len(prompt.token_ids), clock.count)
        yield Delta(
            "finish", finish=Finish(self._reason(last, stops.found or ended, called), usage, clock.timing())
        )

    def complete(
        self, prompt: str | Sequence[int] | Prompt, *, sampling: SamplingParams | None = None
    ) -> Completion:
        """What follows a raw prompt.

        prompt: text (control tokens in it count, a missing <bos> is added), ids, or a Prompt.
        Raises EmptyPrompt, PromptTooLong, PromptError for an id that the model does not have, BadSampling.
        """
        params = SamplingParams() if sampling is None else sampling
        text_stream, stops = TextStream(self.tokenizer), StopStrings(params.stop)
        tokens: list[Token] = []
        text = ""
        for token in self._tokens(self._prompt(prompt), params):
            tokens.append(token)
            text += stops.push(text_stream.push(token.id))
            if stops.found:
                break
        text += stops.push(text_stream.finish()) + stops.finish()
        last = tokens[-1].id if tokens else None
        return Completion(
            text=text,
            token_ids=tuple(token.id for token in tokens),
            logprobs=tuple(token.logprob for token in tokens),
            finish_reason=self._reason(last, stops.found, called=False),
        )

    def logits(self, prompt: Sequence[int] | Prompt) -> Tensor:
        """Logits (T, V) float32 of every position of a prompt, each for the token that follows it."""
        given = self._prompt(prompt)
        check_prompt(given.token_ids, self.config.text.max_position_embeddings, new_tokens=0)
        device = self.model.model.language_model.norm.weight.device
        with torch.inference_mode():
            ids = torch.tensor(given.token_ids, device=device)
            step = whole_sequences([len(ids)], self.config.text, device, self.model.image_blocks(ids))
            soft = self._encoder.encode(given.media)
            embedded = self.model.embed_with_soft_tokens(ids, soft) if len(soft) else self.model.embed(ids)
            return self.model.logits(self.model(embedded, step)).float()

    def _prompt(self, prompt: str | Sequence[int] | Prompt) -> Prompt:
        if isinstance(prompt, Prompt):
            return prompt
        if not isinstance(prompt, str):
            return self._without_media(prompt)
        ids = self.tokenizer.encode(prompt, special=True)
        bos = self.tokenizer.special.bos
        return self._without_media(ids if not ids or ids[0] == bos else [bos, *ids])

    def _without_media(self, ids: Sequence[int]) -> Prompt:
        tokens = self.config.media_tokens
        if found := {tokens.image, tokens.audio, tokens.video} & set(ids):
            token_id = min(found)
            raise PromptError(
                f"the prompt has the placeholder {self.tokenizer.decode([token_id], special=True)} without "
                "its image, sound or video; make it with gemma.prompt(messages)"
            )
        return Prompt(tuple(self._known(ids)))

    def _known(self, ids: Sequence[int]) -> Sequence[int]:
        """The ids, all of them rows of the embedding: on a GPU any other would end the whole process."""
        vocabulary = self.config.text.vocab_size
        unknown = [token_id for token_id in ids if not 0 <= token_id < vocabulary]
        if unknown:
            raise PromptError(
                f"the prompt has the token id {unknown[0]} and this model's ids end at {vocabulary - 1};"
                " make ids with its own tokenizer"
            )
        return ids

    def _tokens(self, prompt: Prompt, params: SamplingParams) -> Iterator[Token]:
        generation = self._loaded.generation
        sampler = Sampler.resolve(params, generation)
        soft = self._encoder.encode(prompt.media)
        return generate(self.model, prompt.token_ids, soft, sampler, generation.stop_ids, params.max_tokens)

    def _reason(self, last: int | None, ended: bool, called: bool) -> FinishReason:
        if not ended and last not in self._loaded.generation.stop_ids:
            return "length"
        return "tool_calls" if called else "stop"


class _Clock:
    """Counts tokens and when they came."""

    def __init__(self) -> None:
        self.count = 0
        self._start = self._first = self._last = time.perf_counter()

    def tick(self) -> None:
        self._last = time.perf_counter()
        if self.count == 0:
            self._first = self._last
        self.count += 1

    def timing(self) -> Timing:
        decoding = self._last - self._first
        rate = (self.count - 1) / decoding if decoding > 0 else 0.0
        return Timing(first_token_s=self._first - self._start, tokens_per_s=rate)


def _deltas(events: Sequence[object], stops: StopStrings) -> Iterator[Delta]:
    """The parser's events as pieces of the reply; stop texts end its text and hide what is behind.

    Text that is held back as a stop's possible beginning is shown before anything that is no text.
    """
    for event in events:
        if not isinstance(event, TextDelta) and (rest := stops.finish()):
            yield Delta("text", rest)
        match event:
            case TextDelta(text):
                if shown := stops.push(text):
                    yield Delta("text", shown)
            case ThoughtDelta(text) if not stops.found:
                yield Delta("thought", text)
            case ToolCallParsed(call) if not stops.found:
                yield Delta("tool_call", tool_call=call)
            case ToolCallMalformed(raw, _) if not stops.found:
                yield Delta("malformed_call", raw)
