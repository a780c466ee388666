"""A loaded model and its engine: prompts in, streams of tokens out."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock

from gemcut.engine.constraint import Constraint, ConstraintOptions, Grammar, GrammarVocabulary
from gemcut.engine.engine import Engine
from gemcut.engine.job import Choice, Job, media_spans, turn_ends
from gemcut.engine.media_encoder import MediaEncoder
from gemcut.engine.memory import MemoryPlan
from gemcut.engine.naive import check_prompt
from gemcut.engine.occupancy import Occupancy
from gemcut.engine.options import EngineOptions
from gemcut.engine.request import Request
from gemcut.engine.runner import Runner
from gemcut.engine.sampling_params import Sampling, SamplingParams
from gemcut.engine.stop_conditions import StopConditions
from gemcut.engine.token_stream import TokenStream
from gemcut.errors import BadSampling, EngineFailed
from gemcut.load import Loaded
from gemcut.prompt.assemble import Prompt


@dataclass(frozen=True)
class Choosing:
    """How a request's tokens are chosen, where they end, and what they must follow."""

    params: SamplingParams
    sampling: Sampling
    constraint: ConstraintOptions

    def stops(self, texts: bool = True) -> StopConditions:
        """When a sample ends.  texts: whether stop texts are looked for."""
        params = self.params
        stop = tuple(params.stop) if texts else ()
        return StopConditions(self.sampling.stop_ids, stop, params.min_tokens, params.max_tokens)


class Generator:
    """Makes tokens; many threads may hold one.  The engine starts with the first request."""

    def __init__(self, loaded: Loaded, options: EngineOptions) -> None:
        self._loaded = loaded
        self._options = options
        self._device = loaded.model.model.language_model.norm.weight.device
        self.limits = options.limits(self._device)
        self._starting = Lock()
        self._reading = Lock()
        self._read_vocabulary: GrammarVocabulary | None = None
        self._engine: Engine | None = None
        self._closed = False
        self._request_ids = itertools.count()
        self.encoder = MediaEncoder(loaded.model, together=not options.batch_invariant)

    @cached_property
    def memory(self) -> MemoryPlan:
        """How the memory for keys and values is cut up.  Raises BadOption where there is too little."""
        dtype = self._loaded.model.model.language_model.norm.weight.dtype
        return self._options.memory(self._loaded.config.text, self._device, dtype)

    @property
    def _vocabulary(self) -> GrammarVocabulary:
        """Read when it is first needed, by one thread, however many need it: it takes a second or two."""
        with self._reading:
            if self._read_vocabulary is None:
                vocab_size = self._loaded.config.text.vocab_size
                self._read_vocabulary = GrammarVocabulary(self._loaded.tokenizer, vocab_size)
            return self._read_vocabulary

    def choosing(self, params: SamplingParams) -> Choosing:
        """How the tokens of a free text are chosen.  Raises BadSampling."""
        text = self._loaded.config.text
        sampling = Sampling.resolve(params, self._loaded.generation, text.vocab_size)
        return Choosing(params, sampling, ConstraintOptions(None, True, params.max_thought_tokens))

    def chat_choosing(self, params: SamplingParams, follow: Grammar | None, think: bool) -> Choosing:
        """How a reply's tokens are chosen.  Raises BadSampling and BadConstraint for what cannot be kept."""
        if params.prompt_logprobs is not None:
            raise BadSampling(
                "prompt_logprobs are no part of a chat's reply; use complete(gemma.prompt(messages))"
            )
        if follow is not None:
            self._vocabulary.matcher(follow)  # what is wrong in it is found before any work on the prompt
        free = self.choosing(params)
        stop_ids = {*free.sampling.stop_ids, *self._loaded.tokenizer.special.ends}
        return replace(
            free,
            sampling=replace(free.sampling, stop_ids=tuple(stop_ids)),
            constraint=ConstraintOptions(follow, think, params.max_thought_tokens),
        )

    def prepare(
        self, prompt: Prompt, choosing: Choosing, ring: Callable[[], None] | None = None
    ) -> Callable[[], list[TokenStream]]:
        """What starts the request and gives the stream of each of its samples.

        ring: called when one of them has something, as `TokenStream` says.
        Raises EmptyPrompt, PromptTooLong and RequestTooLarge at once, before any work.
        """
        request = self._request(prompt, choosing)
        self._running().check(request)
        return lambda: self._running().submit(self._job(prompt, choosing, request), ring)

    def occupancy(self) -> Occupancy:
        """How full the engine is."""
        return self._running().occupancy()

    def _job(self, prompt: Prompt, choosing: Choosing, request: Request) -> Job:
        choices = tuple(
            Choice(
                sampling=replace(choosing.sampling, sample=sample),
                stops=choosing.stops(texts=False),
                constraint=self._constraint(choosing.constraint, prompt.token_ids),
            )
            for sample in range(request.num_samples)
        )
        soft = self.encoder.encode(prompt.media)
        return Job(request, choices, soft, choosing.params.prompt_logprobs)

    def _request(self, prompt: Prompt, choosing: Choosing) -> Request:
        config, special = self._loaded.config, self._loaded.tokenizer.special
        ids, context = prompt.token_ids, config.text.max_position_embeddings
        check_prompt(ids, context, new_tokens=1)
        room = min(context, self.memory.layout.most_tokens) - len(ids)
        return Request(
            id=next(self._request_ids),
            prompt_ids=ids,
            max_tokens=choosing.stops().most_tokens(max(1, room)),
            num_samples=choosing.params.n,
            media=media_spans(ids, prompt.media, config.media_tokens, config.text.bidirectional_images),
            boundaries=turn_ends(ids, special.turn_close),
            score_prompt=choosing.params.prompt_logprobs is not None,
        )

    def _constraint(self, options: ConstraintOptions, prompt_ids: Sequence[int]) -> Constraint | None:
        return Constraint(self._vocabulary, options, prompt_ids) if options.constrain else None

    def _running(self) -> Engine:
        with self._starting:
            if self._closed:
                raise EngineFailed("the model was closed; load it anew")
            if self._engine is None:
                loaded, memory, options = self._loaded, self.memory, self._options
                runner = Runner(loaded.model, memory.layout, memory.int8, options.batch_invariant)
                self._engine = Engine(runner, memory, self.limits, options.speculation, loaded.drafter)
            return self._engine

    def close(self) -> None:
        """Ends the engine: whoever waits for tokens, or asks for any later, gets EngineFailed."""
        with self._starting:
            self._closed = True
        if self._engine is not None:
            self._engine.close()
