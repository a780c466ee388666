"""`Gemma`: a model in the hands of a Python user."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from threading import Event
from typing import Any, Unpack

import torch
from torch import Tensor

from gemcut.agent import Agent, AgentOptions
from gemcut.engine.constraint import reply_grammar
from gemcut.engine.generator import Choosing, Generator
from gemcut.engine.memory import MemoryPlan
from gemcut.engine.naive import Token, check_prompt
from gemcut.engine.occupancy import Occupancy
from gemcut.engine.options import EngineOptions
from gemcut.engine.sampling_params import SamplingParams
from gemcut.engine.scheduler import Limits
from gemcut.engine.stop_conditions import StopConditions
from gemcut.engine.token_stream import TokenStream
from gemcut.errors import BadSampling, BatchFailed, EngineFailed, GemcutError, PromptError
from gemcut.live import LiveReply
from gemcut.load import Dtype, Loaded, load
from gemcut.many import AnswerOptions, Question, ReplyOptions, in_turn, shown, until
from gemcut.model.step import whole_sequences
from gemcut.prompt.assemble import Prompt, PromptFormat, assemble, check_length
from gemcut.prompt.json_schema import Schema
from gemcut.prompt.latest import Latest
from gemcut.prompt.media import KEPT_BYTES, MediaOptions, MediaReader, Read
from gemcut.prompt.messages import Conversation, with_media
from gemcut.prompt.tokenizer import Tokenizer
from gemcut.prompt.tool_grammar import FREE_CALLS, CallRules
from gemcut.prompt.tools import Tools
from gemcut.reply import Clock, Completion, CompletionReader, Delta, Reply, ReplyReader, whole_reply
from gemcut.toolbox import Callables


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

    @property
    def limits(self) -> Limits:
        """How much runs at once."""
        return self._generator.limits

    def occupancy(self) -> Occupancy:
        """How full the engine is at this moment, which starts it."""
        return self._generator.occupancy()

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
        reader = MediaReader(self.config, options, self._read_media, options.open_url)
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
        calls: CallRules | None = None,
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
            calls=calls,
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
        calls: CallRules | None = None,
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
        calls: how many of them there may or must be, and of which tools; None leaves that to the model.
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
            calls=calls,
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

    def agent(
        self,
        tools: Callables,
        *,
        system: str | None = None,
        max_rounds: int = 10,
        parallel: int = 8,
        **options: Unpack[AnswerOptions],
    ) -> Agent:
        """An agent that calls these tools until it has an answer: `agent.run("…").text`.

        tools: typed Python functions (async ones too), AgentTools, an `McpServer`'s.  system: what it is told
        first.  max_rounds: the most replies to one conversation.  parallel: calls of one reply that run at
        once.  options: as of `reply`, for each reply.  Raises BadTools, BadOption.
        """
        return Agent(self, tools, AgentOptions(system, max_rounds, parallel), **options)

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
        prompt, choosing = self._asked(messages, **options)
        start = self._generator.prepare(prompt, choosing)
        return lambda: (
            self._deltas(stream, self._reader(prompt, choosing, clock.again())) for stream in start()
        )

    def _asked(self, messages: Conversation, **options: Unpack[ReplyOptions]) -> tuple[Prompt, Choosing]:
        """What the model is to read, and how its reply's tokens are chosen."""
        given = options.get("sampling")
        params = SamplingParams() if given is None else given
        tools, think = options.get("tools"), options.get("think", False)
        held = tools if options.get("constrain_tools", True) else None
        text = options.get("schema"), options.get("regex"), options.get("grammar")
        calls = options.get("calls")
        follow = reply_grammar(*text, held, FREE_CALLS if calls is None else calls)
        choosing = self._generator.chat_choosing(params, follow, think)
        return self.prompt(messages, tools=tools, think=think, media=options.get("media")), choosing

    def live(self, question: Question, ring: Callable[[], None]) -> list[LiveReply]:
        """The replies to a question, one a sample, for who reads many of them in one thread.

        ring: called from another thread whenever one of them has something; it must not wait.
        Raises what `stream` raises, and EngineFailed.
        """
        clock = Clock()
        prompt, choosing = self._asked(question.messages, **question.options)
        streams = self._generator.prepare(prompt, choosing, ring)()
        return [LiveReply(prompt, each, self._reader(prompt, choosing, clock.again())) for each in streams]

    def live_completions(
        self, prompt: str | Sequence[int] | Prompt, sampling: SamplingParams, ring: Callable[[], None]
    ) -> list[LiveReply]:
        """What follows a raw prompt, as `complete` has it, read as `live` replies are."""
        clock = Clock()
        given, choosing = self._prompt(prompt), self._generator.choosing(sampling)
        reader = partial(CompletionReader, self.tokenizer, len(given.token_ids))
        streams = self._generator.prepare(given, choosing, ring)()
        return [LiveReply(given, each, reader(choosing.stops(), clock.again())) for each in streams]

    def _reader(self, prompt: Prompt, choosing: Choosing, clock: Clock) -> ReplyReader:
        return ReplyReader(self.tokenizer, prompt.token_ids, choosing.stops(), clock)

    def _deltas(self, stream: TokenStream, reader: ReplyReader) -> Iterator[Delta]:
        """The pieces of a reply.  Who stops reading them ends it."""
        with closing(stream):
            for token in stream:
                yield from reader.push(token)
                if reader.over:
                    break
        yield from reader.finish(stream.num_cached)

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
        reader = CompletionReader(self.tokenizer, 0, stops, Clock())
        tokens: list[Token] = []
        deltas: list[Delta] = []
        with closing(stream):
            for token in stream:
                tokens.append(token)
                deltas += reader.push(token)
                if reader.over:
                    break
        deltas += reader.finish(stream.num_cached)
        return Completion(
            text="".join(delta.text for delta in deltas),
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
        check_length(prompt, self.tokenizer, self.config.text.max_position_embeddings)
        ids = self.tokenizer.encode(prompt, special=True)
        bos = self.tokenizer.special.bos
        return self._without_media(ids if not ids or ids[0] == bos else [bos, *ids])

    def _without_media(self, ids: Sequence[int]) -> Prompt:
        tokens = self.config.media_tokens
        if found := {tokens.image, tokens.audio, tokens.video} & set(ids):
            raise PromptError(
                f"the prompt has the placeholder {self.tokenizer.decode([min(found)], special=True)} without "
                "its image, sound or video; make it with gemma.prompt(messages)"
            )
        return Prompt(tuple(self._known(ids)))

    def _known(self, ids: Sequence[int]) -> Sequence[int]:
        """The ids, all of them rows of the embedding: on a GPU any other would end the whole process."""
        end = self.config.text.vocab_size
        if unknown := [token_id for token_id in ids if not 0 <= token_id < end]:
            raise PromptError(
                f"the prompt has the token id {unknown[0]} and this model's ids end at {end - 1};"
                " make ids with its own tokenizer"
            )
        return ids


def _flat(start: Callable[[], Iterator[Iterator[Delta]]]) -> Iterator[Delta]:
    """The pieces of a request that is started with the first of them."""
    for deltas in start():
        yield from deltas
