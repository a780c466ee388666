"""`Gemma`: a model in the hands of a Python user."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gemcut.engine.constraint import (
    Constraint,
    ConstraintOptions,
    Grammar,
    GrammarVocabulary,
    reply_grammar,
)
from gemcut.engine.logprobs import TokenLogprobs
from gemcut.engine.media_encoder import MediaEncoder
from gemcut.engine.naive import Token, check_prompt, generate, score_prompt
from gemcut.engine.sampling_params import Sampling, SamplingParams
from gemcut.engine.stop_conditions import StopConditions
from gemcut.errors import BadSampling, PromptError
from gemcut.load import Dtype, Loaded, load
from gemcut.model.step import whole_sequences
from gemcut.prompt.assemble import Prompt, PromptFormat, assemble
from gemcut.prompt.channels import end_ids
from gemcut.prompt.json_schema import Schema
from gemcut.prompt.latest import Latest
from gemcut.prompt.media import KEPT_BYTES, MediaOptions, MediaReader, Read
from gemcut.prompt.messages import Conversation, with_media
from gemcut.prompt.parse import ReplyParser, TextDelta, ThoughtDelta, ToolCallMalformed, ToolCallParsed
from gemcut.prompt.text_stream import TextStream
from gemcut.prompt.tokenizer import Tokenizer
from gemcut.prompt.tools import Tools
from gemcut.reply import Completion, Delta, Finish, Reply, Timing, Usage, whole_reply


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
        schema: Schema | None = None,
        regex: str | None = None,
        grammar: str | None = None,
        constrain_tools: bool = True,
        sampling: SamplingParams | None = None,
    ) -> Reply:
        """The model's whole answer; see `stream`.  With n above 1, the first of so many."""
        clock = _Clock()
        params = SamplingParams() if sampling is None else sampling
        follow = reply_grammar(schema, regex, grammar, tools if constrain_tools else None)
        choice = self._chat_choice(params, follow, think)
        conversation = with_media(messages, images, audio, videos)
        prompt = self.prompt(conversation, tools=tools, think=think, media=media)
        first = whole_reply(self._stream(prompt, choice, 0, clock))
        numbers = range(1, params.n)
        others = [whole_reply(self._stream(prompt, choice, number, _Clock())) for number in numbers]
        return replace(first, others=tuple(others))

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
        schema: Schema | None = None,
        regex: str | None = None,
        grammar: str | None = None,
        constrain_tools: bool = True,
        sampling: SamplingParams | None = None,
    ) -> Iterator[Delta]:
        """The model's answer piece by piece, the last piece saying how it ended.

        messages: a string, or a list of messages in OpenAI's shape.  images, audio, videos: paths, URLs,
        bytes, PIL images or arrays that go into the last user's message.  tools: JSON schemas or typed
        functions.  think: let the model think before it answers.  media: how images, sound and video are
        read.
        schema, regex, grammar: what the answer's text must follow, one of them: a JSON schema or a pydantic
        model, a regular expression for the whole text, a context-free grammar in Lark's syntax. Thoughts come
        before it.  constrain_tools: whether calls can only be those that the tools declare.
        sampling: None takes the model's own defaults.
        Raises PromptError, BadMedia, BadConstraint and BadSampling before the first piece.
        """
        clock = _Clock()
        params = SamplingParams() if sampling is None else sampling
        if params.n > 1:
            raise BadSampling(f"n is {params.n} and a stream is one reply; use reply(), or leave out n")
        follow = reply_grammar(schema, regex, grammar, tools if constrain_tools else None)
        choice = self._chat_choice(params, follow, think)
        conversation = with_media(messages, images, audio, videos)
        prompt = self.prompt(conversation, tools=tools, think=think, media=media)
        return self._stream(prompt, choice, 0, clock)

    def _stream(self, prompt: Prompt, choice: "_Choice", sample: int, clock: "_Clock") -> Iterator[Delta]:
        check_prompt(prompt.token_ids, self.config.text.max_position_embeddings, new_tokens=1)
        return self._deltas_of(self._tokens(prompt, choice, sample), prompt, choice.stops(), clock)

    def _deltas_of(
        self, tokens: Iterator[Token], prompt: Prompt, stops: StopConditions, clock: "_Clock"
    ) -> Iterator[Delta]:
        parser = ReplyParser(self.tokenizer, prompt.token_ids)
        waiting: list[TokenLogprobs] = []  # of tokens that gave no piece yet
        for token in tokens:
            clock.tick()
            stops.push(token.id, token.ends)
            waiting += [] if token.logprobs is None else [token.logprobs]
            for delta in _deltas([] if stops.at_stop_id else parser.push(token.id), stops):
                yield replace(delta, logprobs=tuple(waiting)) if waiting else delta
                waiting.clear()
            if stops.over:
                break
        yield from _deltas(parser.finish(), stops)
        if rest := stops.flush():
            yield Delta("text", rest)
        usage = Usage(len(prompt.token_ids), clock.count)
        finish = Finish(stops.reason, usage, clock.timing())
        yield Delta("finish", finish=finish, logprobs=tuple(waiting))

    def complete(
        self, prompt: str | Sequence[int] | Prompt, *, sampling: SamplingParams | None = None
    ) -> Completion:
        """What follows a raw prompt.

        prompt: text (control tokens in it count, a missing <bos> is added), ids, or a Prompt.
        Raises EmptyPrompt, PromptTooLong, PromptError for an id that the model does not have, BadSampling.
        """
        params = SamplingParams() if sampling is None else sampling
        given, choice = self._prompt(prompt), self._choice(params)
        scored: tuple[TokenLogprobs, ...] = ()
        if params.prompt_logprobs is not None:
            soft = self._encoder.encode(given.media)
            scored = score_prompt(self.model, given.token_ids, soft, params.prompt_logprobs)
        first, *others = [self._complete(given, choice, sample) for sample in range(params.n)]
        return replace(first, prompt_logprobs=scored, others=tuple(others))

    def _complete(self, prompt: Prompt, choice: "_Choice", sample: int) -> Completion:
        text_stream, stops = TextStream(self.tokenizer), choice.stops()
        tokens: list[Token] = []
        text = ""
        for token in self._tokens(prompt, choice, sample):
            tokens.append(token)
            stops.push(token.id, token.ends)
            text += "" if stops.at_stop_id else stops.show(text_stream.push(token.id))
            if stops.over:
                break
        text += stops.show(text_stream.finish()) + stops.flush()
        return Completion(
            text=text,
            token_ids=tuple(token.id for token in tokens),
            finish_reason=stops.reason,
            logprobs=tuple(token.logprobs for token in tokens if token.logprobs is not None),
            prompt_logprobs=(),
            others=(),
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

    @cached_property
    def _vocabulary(self) -> GrammarVocabulary:
        return GrammarVocabulary(self.tokenizer, self.config.text.vocab_size)

    def _chat_choice(self, params: SamplingParams, follow: Grammar | None, think: bool) -> "_Choice":
        """How a reply's tokens are chosen.  Raises BadSampling and BadConstraint for what cannot be kept."""
        if params.prompt_logprobs is not None:
            raise BadSampling(
                "prompt_logprobs are no part of a chat's reply; use complete(gemma.prompt(messages))"
            )
        if follow is not None:
            self._vocabulary.matcher(follow)  # what is wrong in it is found before any work on the prompt
        choice = self._choice(params)
        stop_ids = {*choice.sampling.stop_ids, *end_ids(self.tokenizer.special)}
        return replace(
            choice,
            sampling=replace(choice.sampling, stop_ids=tuple(stop_ids)),
            constraint=ConstraintOptions(follow, think, params.max_thought_tokens),
        )

    def _choice(self, params: SamplingParams) -> "_Choice":
        """How the tokens of a free text are chosen.  Raises BadSampling."""
        sampling = Sampling.resolve(params, self._loaded.generation, self.config.text.vocab_size)
        return _Choice(params, sampling, ConstraintOptions(None, True, params.max_thought_tokens))

    def _tokens(self, prompt: Prompt, choice: "_Choice", sample: int) -> Iterator[Token]:
        constraint = None
        if choice.constraint.constrain:
            constraint = Constraint(self._vocabulary, choice.constraint, prompt.token_ids)
        soft = self._encoder.encode(prompt.media)
        sampling = replace(choice.sampling, sample=sample)
        stops = choice.stops(texts=False)
        return generate(self.model, prompt.token_ids, soft, sampling, stops, constraint)


@dataclass(frozen=True)
class _Choice:
    """How a request's tokens are chosen, where they end, and what they must follow."""

    params: SamplingParams
    sampling: Sampling
    constraint: ConstraintOptions

    def stops(self, texts: bool = True) -> StopConditions:
        """When a sample ends.  texts: whether stop texts are looked for."""
        params = self.params
        stop = tuple(params.stop) if texts else ()
        return StopConditions(self.sampling.stop_ids, stop, params.min_tokens, params.max_tokens)


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


def _deltas(events: Sequence[object], stops: StopConditions) -> Iterator[Delta]:
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
