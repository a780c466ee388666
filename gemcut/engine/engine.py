"""Many requests, one model: a thread that plans steps, runs them, and hands out tokens as they are made.

`submit` may be called from any thread.  What fails in one request fails that request alone; if the loop
itself fails, every stream raises the error, and so does every later `submit`.
"""

import queue
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from gemcut.engine.constraint import Constraint, compute_masks, unpack
from gemcut.engine.drafting import PagedDrafter, Speculator
from gemcut.engine.memory import MemoryPlan
from gemcut.engine.naive import Token, advanced
from gemcut.engine.progress import Key, Made, Rows
from gemcut.engine.request import Request
from gemcut.engine.runner import Result, Runner
from gemcut.engine.sampling import BatchSampler
from gemcut.engine.sampling_params import Sampling
from gemcut.engine.scheduler import Limits, Scheduler
from gemcut.engine.speculative import Speculation
from gemcut.engine.stop_conditions import StopConditions
from gemcut.errors import EngineFailed, GemcutError
from gemcut.model.drafter import Drafter
from gemcut.model.gemma4 import Gemma4


@dataclass(frozen=True)
class Choice:
    """How the tokens of one sample are chosen, and when it ends.

    stops: without texts, which the reader of its stream looks for.
    """

    sampling: Sampling
    stops: StopConditions
    constraint: Constraint | None = None


@dataclass(frozen=True)
class Job:
    """A request with what is needed to choose its tokens.

    choices: one for each of its samples.  soft: (S, C), the soft tokens of its media, in order.
    """

    request: Request
    choices: tuple[Choice, ...]
    soft: Tensor


class TokenStream(Iterator[Token]):
    """The tokens of one sample as they are made; `close` ends it early."""

    def __init__(self, key: Key, loop: "_Loop") -> None:
        self.key = key
        self._loop = loop
        self._queue: queue.SimpleQueue[Token | Exception | None] = queue.SimpleQueue()
        self._ended = False

    def __next__(self) -> Token:
        """The next token.  Raises what made the request fail, and StopIteration at the end."""
        if self._ended:
            raise StopIteration
        item = self._queue.get()
        if isinstance(item, Token):
            return item
        self._ended = True
        if item is None:
            raise StopIteration
        raise item

    def put(self, item: Token | Exception | None) -> None:
        """Hands over a token, an error, or None at the end."""
        self._queue.put(item)

    def close(self) -> None:
        """Ends the sample; its pages are free with the next step."""
        if not self._ended:
            self._ended = True
            self._loop.end(self.key)


@dataclass(eq=False)
class _Sample:
    """A sample under way.  slot: of the sampler, None while it has none."""

    choice: Choice
    stream: TokenStream
    made: list[int] = field(default_factory=list)
    slot: int | None = None


@dataclass(eq=False)
class _Choosing:
    """A sequence whose next tokens are being chosen.

    logits: (D + 1, V), behind its last known token and behind each of its D guesses.
    """

    rows: Rows
    logits: Tensor
    sample: _Sample
    tokens: list[int] = field(default_factory=list)
    ended: bool = False

    @property
    def next_logits(self) -> Tensor:
        """Of the next token, (1, V)."""
        place = len(self.tokens)
        return self.logits[place : place + 1]

    @property
    def goes_on(self) -> bool:
        """Whether the latest token was the guess in its place, so that there are logits behind it."""
        place = len(self.tokens)
        first = len(self.rows.ids) - self.rows.num_drafts
        return not self.ended and self.rows.ids[first:][place - 1 : place] == (self.tokens[-1],)


class Engine:
    """Runs the requests of many callers together.  Its thread ends with it."""

    def __init__(
        self,
        model: Gemma4,
        memory: MemoryPlan,
        limits: Limits,
        speculation: Speculation,
        drafter: Drafter | None = None,
    ) -> None:
        runner = Runner(model, memory.layout)
        paged = None if drafter is None else PagedDrafter(drafter, runner)
        speculator = Speculator(speculation, paged)
        self._loop = _Loop(Scheduler(memory.layout, limits), runner, speculator)
        self._thread = threading.Thread(target=self._loop.run, name="gemcut-engine", daemon=True)
        self._thread.start()
        self._finalizer = weakref.finalize(self, self._loop.stop)

    def submit(self, job: Job) -> list[TokenStream]:
        """The streams of a request, one a sample.

        Raises RequestTooLarge, and EngineFailed once the engine has failed or was closed.
        """
        return self._loop.submit(job)

    def close(self) -> None:
        """Ends all requests and the thread."""
        self._finalizer()
        self._thread.join()


class _Loop:
    """What the engine's thread runs.  `_changed` guards everything that other threads touch."""

    def __init__(self, scheduler: Scheduler, runner: Runner, speculator: Speculator) -> None:
        most, text = scheduler.limits.max_running, runner.model.config.text
        self._scheduler = scheduler
        self._runner = runner
        self._speculator = speculator
        self._sampler = BatchSampler(most, text.vocab_size, runner.device)
        self._free_slots = list(range(most))
        self._changed = threading.Condition()
        self._samples: dict[Key, _Sample] = {}
        self._soft: dict[int, Tensor] = {}
        self._failure: Exception | None = None

    def submit(self, job: Job) -> list[TokenStream]:
        with self._changed:
            if self._failure is not None:
                raise EngineFailed(f"the engine stopped: {self._failure}; load the model anew")
            self._scheduler.add(job.request)
            streams = [TokenStream((job.request.id, number), self) for number in range(len(job.choices))]
            for choice, stream in zip(job.choices, streams, strict=True):
                self._samples[stream.key] = _Sample(choice, stream)
            self._soft[job.request.id] = job.soft
            self._changed.notify()
        return streams

    def end(self, key: Key) -> None:
        with self._changed:
            self._scheduler.end(key)
            self._forget(key)

    def stop(self) -> None:
        self._fail(EngineFailed("it was closed"))

    def run(self) -> None:
        """Steps until the engine is stopped or fails."""
        try:
            while self._failure is None:
                self._step()
        except Exception as error:  # nobody may wait for ever
            self._fail(error)

    def _step(self) -> None:
        with self._changed:
            planned = self._scheduler.next_step(self._guesses())
            if not planned:
                self._scheduler.commit({})
                self._changed.wait_for(lambda: self._samples or self._failure)
                return
            soft = dict(self._soft)
        start = time.perf_counter()
        results = self._runner.run(planned, soft)
        with self._changed:
            if self._failure is None:
                made = self._choose(planned, results)
                self._speculator.learn(planned, results, made, time.perf_counter() - start)
                self._scheduler.commit(made)

    def _guesses(self) -> Mapping[Key, Sequence[int]]:
        """Guesses of what follows the sequences that run."""
        forced = {
            key: sample.choice.constraint.forced
            for key, sample in self._samples.items()
            if sample.choice.constraint is not None
        }
        return self._speculator.propose(self._scheduler.running, forced)

    def _choose(self, planned: Sequence[Rows], results: Sequence[Result]) -> dict[Key, Made]:
        """The next tokens of each sequence that has any; a request in which this fails ends with the error.

        Place by place: the token behind the last known one, then, for those whose guess it was, the one
        behind the guess.  So at every place counts, grammar and stops are as they would be without guesses.
        """
        under_way = [
            _Choosing(rows, result.logits[-1 - rows.num_drafts :], self._samples[rows.progress.key])
            for rows, result in zip(planned, results, strict=True)
            if rows.chooses and rows.progress.key in self._samples
        ]
        chosen = under_way
        while under_way:
            self._choose_next(under_way)
            under_way = [one for one in under_way if one.goes_on]
        return {one.rows.progress.key: Made(tuple(one.tokens), one.ended) for one in chosen}

    def _choose_next(self, under_way: "Sequence[_Choosing]") -> None:
        """One token for each."""
        rows, samples = torch.cat([one.next_logits for one in under_way]), [one.sample for one in under_way]
        slots = [self._slot(one.sample, one.rows) for one in under_way]
        positions = [len(sample.made) for sample in samples]
        ids = self._sampler.choose(rows, slots, positions, self._permitted(samples, rows))
        self._sampler.observe(slots, ids)
        logprobs = self._sampler.logprobs(rows, slots, ids)
        for one, token_id, found in zip(under_way, ids.tolist(), logprobs, strict=True):
            one.tokens.append(token_id)
            try:
                one.ended = self._advance(one.sample, Token(token_id, found))
            except GemcutError as error:
                one.ended = True
                one.sample.stream.put(error)
                self._scheduler.end(one.rows.progress.key)
                self._forget(one.rows.progress.key)

    def _permitted(self, samples: Sequence[_Sample], logits: Tensor) -> Tensor | None:
        words = -(-logits.shape[-1] // 32)
        packed = compute_masks([sample.choice.constraint for sample in samples], words)
        return None if packed is None else unpack(packed.to(logits.device), logits.shape[-1])

    def _slot(self, sample: _Sample, rows: Rows) -> int:
        """The sampler's slot of a running sample; those that had to give way hand theirs over."""
        if sample.slot is None:
            if not self._free_slots:
                self._take_slots_of_the_waiting()
            sample.slot = self._free_slots.pop()
            self._sampler.put(
                sample.slot, sample.choice.sampling, rows.progress.request.prompt_ids, sample.made
            )
        return sample.slot

    def _take_slots_of_the_waiting(self) -> None:
        for progress in self._scheduler.waiting:
            sample = self._samples[progress.key]
            if sample.slot is not None:
                self._free_slots.append(sample.slot)
                sample.slot = None

    def _advance(self, sample: _Sample, token: Token) -> bool:
        """Hands a token over; returns whether the reply ends with it."""
        choice = sample.choice
        sample.made.append(token.id)
        ends = choice.constraint is not None and advanced(choice.constraint, token.id)
        choice.stops.push(token.id, ends)
        sample.stream.put(replace(token, ends=ends))
        if choice.stops.over:
            sample.stream.put(None)
            self._forget(sample.stream.key)
        return choice.stops.over

    def _forget(self, key: Key) -> None:
        sample = self._samples.pop(key, None)
        if sample is not None and sample.slot is not None:
            self._free_slots.append(sample.slot)
        if not any(other[0] == key[0] for other in self._samples):
            self._soft.pop(key[0], None)

    def _fail(self, error: Exception) -> None:
        with self._changed:
            if self._failure is None:
                self._failure = error
            for sample in self._samples.values():
                sample.stream.put(self._failure)
            self._samples.clear()
            self._changed.notify_all()
