"""Many requests, one model: a thread that plans steps, runs them, and hands out tokens as they are made.

`submit` may be called from any thread.  What fails in one request fails that request alone; if the loop
itself fails, every stream raises the error, and so does every later `submit`.
"""

import queue
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from gemcut.engine.constraint import Constraint, compute_masks, unpack
from gemcut.engine.memory import MemoryPlan
from gemcut.engine.naive import Token, advanced
from gemcut.engine.progress import Key, Made, Rows
from gemcut.engine.request import Request
from gemcut.engine.runner import Runner
from gemcut.engine.sampling import BatchSampler
from gemcut.engine.sampling_params import Sampling
from gemcut.engine.scheduler import Limits, Scheduler
from gemcut.engine.stop_conditions import StopConditions
from gemcut.errors import EngineFailed, GemcutError
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


class Engine:
    """Runs the requests of many callers together.  Its thread ends with it."""

    def __init__(self, model: Gemma4, memory: MemoryPlan, limits: Limits) -> None:
        sampler = BatchSampler(
            limits.max_running, model.config.text.vocab_size, model.model.language_model.norm.weight.device
        )
        self._loop = _Loop(Scheduler(memory.layout, limits), Runner(model, memory.layout), sampler)
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

    def __init__(self, scheduler: Scheduler, runner: Runner, sampler: BatchSampler) -> None:
        self._scheduler = scheduler
        self._runner = runner
        self._sampler = sampler
        self._free_slots = list(range(scheduler.limits.max_running))
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
            planned = self._scheduler.next_step({})
            if not planned:
                self._scheduler.commit({})
                self._changed.wait_for(lambda: self._samples or self._failure)
                return
            soft = dict(self._soft)
        logits = self._runner.run(planned, soft)
        with self._changed:
            if self._failure is None:
                self._scheduler.commit(self._choose(planned, logits))

    def _choose(self, planned: Sequence[Rows], logits: Sequence[Tensor]) -> dict[Key, Made]:
        """The next token of each sequence that has one; a request in which this fails ends with the error."""
        chosen = [
            (rows, result[-1:], self._samples[rows.progress.key])
            for rows, result in zip(planned, logits, strict=True)
            if rows.chooses and rows.progress.key in self._samples
        ]
        if not chosen:
            return {}
        rows, results = torch.cat([result for _, result, _ in chosen]), [sample for _, _, sample in chosen]
        slots = [self._slot(sample, planned_rows) for planned_rows, _, sample in chosen]
        ids = self._sampler.choose(
            rows, slots, [len(sample.made) for sample in results], self._permitted(results, rows)
        )
        self._sampler.observe(slots, ids)
        logprobs = self._sampler.logprobs(rows, slots, ids)
        made: dict[Key, Made] = {}
        for (planned_rows, _, sample), token_id, found in zip(chosen, ids.tolist(), logprobs, strict=True):
            try:
                made[planned_rows.progress.key] = self._advance(sample, Token(token_id, found))
            except GemcutError as error:
                sample.stream.put(error)
                self._scheduler.end(planned_rows.progress.key)
                self._forget(planned_rows.progress.key)
        return made

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

    def _advance(self, sample: _Sample, token: Token) -> Made:
        """Hands a token over; says whether the reply ends with it."""
        choice = sample.choice
        sample.made.append(token.id)
        ends = choice.constraint is not None and advanced(choice.constraint, token.id)
        choice.stops.push(token.id, ends)
        sample.stream.put(replace(token, ends=ends))
        if choice.stops.over:
            sample.stream.put(None)
            self._forget(sample.stream.key)
        return Made((token.id,), choice.stops.over)

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
