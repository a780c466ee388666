"""`Gemma`: a model in the hands of a Python user."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from threading import Event
from typing import Any, Unpack

import torch
from torch import Tensor

from gemcut.engine.constraint import reply_grammar
from gemcut.engine.generator import Generator
from gemcut.engine.logprobs import TokenLogprobs
from gemcut.engine.memory import MemoryPlan
from gemcut.engine.naive import Token, check_prompt
from gemcut.engine.options import EngineOptions
from gemcut.engine.sampling_params import SamplingParams
from gemcut.engine.stop_conditions import StopConditions
from gemcut.engine.token_stream import TokenStream
from gemcut.errors import BadSampling, BatchFailed, EngineFailed, GemcutError, PromptError
from gemcut.load import Dtype, Loaded, load
from gemcut.many import Question, ReplyOptions, in_turn, shown, until
from gemcut.model.step import whole_sequences
from gemcut.prompt.assemble import Prompt, PromptFormat, assemble
from gemcut.prompt.json_schema import Schema
from gemcut.prompt.latest import Latest
from gemcut.prompt.media import KEPT_BYTES, MediaOptions, MediaReader, Read
from gemcut.prompt.messages import Conversation, with_media
from gemcut.prompt.parse import ReplyParser
from gemcut.prompt.text_stream import TextStream
from gemcut.prompt.tokenizer import Tokenizer
from gemcut.prompt.tools import Tools
from gemcut.reply import Clock, Completion, Delta, Finish, Reply, Usage, deltas_of, whole_reply


class Gemma:
    """A loaded model: replies, streams, completions, logits.

    Many threads may hold one: what they ask runs together, in the engine's own thread.  Between calls it
    keeps the latest media, and keys and values of prompts in the memory that the engine has for them.
    """

    def __init__(self, loaded: Loaded, engine: EngineOptions | None = None) -> None:
        self._loaded = loaded
        self.config = loaded.config
        self.model = loaded.model
        self._generator = Generator(loaded, EngineOptions() if engine is None else engine)
        self._read_media: Latest[Read] = Latest(KEPT_BYTES)

    @classmethod
    def load(
        cls,
        source: str = "nano",
        *,
        device: str | None = None,
        dtype: Dtype | None = None,
        offline: bool = False,
        drafter: str | None = None,
        engine: EngineOptions | None = None,
    ) -> "Gemma":
        """A model by size ("nano", "e2b", "e4b", "12b", "26b", "31b"), hub id, folder or GGUF file.

        device: None takes a GPU where there is one.  dtype: None takes what the checkpoint's config says.
        offline: never ask the network.  drafter: the model's assistant, which guesses tokens ahead: a size,
        hub id or folder.  engine: how many requests run together, in how much memory, with how many guesses.
        Raises UnknownModel, CheckpointError (with what to do) and BadOption.
        """
        return cls(load(source, device=device, dtype=dtype, offline=offline, drafter=drafter), engine)

    @property
    def notes(self) -> tuple[str, ...]:
        """What its user should know of the way it was loaded: weights that were quantised anew."""
        return self._loaded.notes

    @property
    def memory(self) -> MemoryPlan:
        """The memory for keys and values; its `lines()` tell what fits.  Raises BadOption for too little."""
        return self._generator.memory

    def close(self) -> None:
        """Ends the engine; whoever waits for tokens gets EngineFailed."""
        self._generator.close()

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
        return self._whole(
            with_media(messages, images, audio, videos),
            tools=tools,
            think=think,
            media=media,
            schema=schema,
            regex=regex,
            grammar=grammar,
            constrain_tools=constrain_tools,
            sampling=sampling,
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
        if sampling is not None and sampling.n > 1:
            raise BadSampling(f"n is {sampling.n} and a stream is one reply; use reply(), or leave out n")
        start = self._prepare(
            with_media(messages, images, audio, videos),
            tools=tools,
            think=think,
            media=media,
            schema=schema,
            regex=regex,
            grammar=grammar,
            constrain_tools=constrain_tools,
            sampling=sampling,
        )
        return _flat(start)

    def batch(
        self, conversations: Sequence[Conversation], *, progress: bool = True, **options: Unpack[ReplyOptions]
    ) -> list[Reply]:
        """The replies to many conversations, made together, in the conversations' order.

        progress: show a bar on stderr, where that is a terminal.  options: as of `reply`, for all of them.
        Raises BatchFailed once all is done where any of them failed; it holds the replies to the others.
        """
        questions = [Question(conversation, options) for conversation in conversations]
        made: dict[int, Reply | GemcutError] = dict(shown(self.replies(questions), len(questions), progress))
        failed = {place: result for place, result in made.items() if isinstance(result, GemcutError)}
        replies = [made[place] for place in range(len(questions))]
        if failed:
            raise BatchFailed([None if isinstance(r, GemcutError) else r for r in replies], failed)
        return [reply for reply in replies if isinstance(reply, Reply)]

    def replies(self, questions: Iterable[Question]) -> Iterator[tuple[int, Reply | GemcutError]]:
        """The replies to many questions as they are made, each with its question's place, or what went wrong.

        Questions are taken as the engine has room for them.  Who stops reading ends those under way.
        """
        stopping = Event()
        most = 2 * self._generator.limits.max_running  # one half runs, the other is read meanwhile
        with ThreadPoolExecutor(most, "gemcut-batch") as pool:
            try:
                yield from in_turn(pool, most, questions, lambda question: self._result(question, stopping))
            finally:
                stopping.set()

    def _result(self, question: Question, stopping: Event) -> Reply | GemcutError:
        """A reply, or what went wrong with this question alone."""
        try:
            return self._whole(question.messages, stopping, **question.options)
        except EngineFailed:
            raise  # it would be the same for all others
        except GemcutError as error:
            return error

    def _whole(
        self, messages: Conversation, stopping: Event | None = None, **options: Unpack[ReplyOptions]
    ) -> Reply:
        samples = self._prepare(messages, **options)()
        first, *others = [whole_reply(until(stopping, deltas)) for deltas in samples]
        return replace(first, others=tuple(others))

    def _prepare(
        self, messages: Conversation, **options: Unpack[ReplyOptions]
    ) -> Callable[[], Iterator[Iterator[Delta]]]:
        """What starts a request and gives the pieces of its samples.  Raises what is wrong with it."""
        clock = Clock()
        given = options.get("sampling")
        params = SamplingParams() if given is None else given
        tools, think = options.get("tools"), options.get("think", False)
        held = tools if options.get("constrain_tools", True) else None
        text = options.get("schema"), options.get("regex"), options.get("grammar")
        choosing = self._generator.chat_choosing(params, reply_grammar(*text, held), think)
        prompt = self.prompt(messages, tools=tools, think=think, media=options.get("media"))
        start = self._generator.prepare(prompt, choosing)
        return lambda: (self._deltas(stream, prompt, choosing.stops(), clock.again()) for stream in start())

    def _deltas(
        self, stream: TokenStream, prompt: Prompt, stops: StopConditions, clock: Clock
    ) -> Iterator[Delta]:
        """The pieces of a reply.  Who stops reading them ends it."""
        parser = ReplyParser(self.tokenizer, prompt.token_ids)
        waiting: list[TokenLogprobs] = []  # of tokens that gave no piece yet
        with closing(stream):
            for token in stream:
                clock.tick()
                stops.push(token.id, token.ends)
                waiting += [] if token.logprobs is None else [token.logprobs]
                for delta in deltas_of([] if stops.at_stop_id else parser.push(token.id), stops):
                    yield replace(delta, logprobs=tuple(waiting)) if waiting else delta
                    waiting.clear()
                if stops.over:
                    break
        yield from deltas_of(parser.finish(), stops)
        if rest := stops.flush():
            yield Delta("text", rest)
        usage = Usage(len(prompt.token_ids), clock.count, stream.num_cached)
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
        given, choosing = self._prompt(prompt), self._generator.choosing(params)
        streams = self._generator.prepare(given, choosing)()
        first, *others = [self._complete(stream, choosing.stops()) for stream in streams]
        return replace(first, others=tuple(others))

    def _complete(self, stream: TokenStream, stops: StopConditions) -> Completion:
        text_stream = TextStream(self.tokenizer)
        tokens: list[Token] = []
        text = ""
        with closing(stream):
            for token in stream:
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
            prompt_logprobs=tuple(stream.prompt_logprobs),
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
            soft = self._generator.encoder.encode(given.media)
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


def _flat(start: Callable[[], Iterator[Iterator[Delta]]]) -> Iterator[Delta]:
    """The pieces of a request that is started with the first of them."""
    for deltas in start():
        yield from deltas
