"""Many requests, one model: a thread that plans steps, runs them, and hands out tokens as they are made.

`submit` may be called from any thread.  What fails in one request fails that request alone; if the loop
itself fails, every stream raises the error, and so does every later `submit`.
"""

import queue
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from gemcut.engine.memory import MemoryPlan
from gemcut.engine.naive import Token
from gemcut.engine.progress import Key, Made, Rows
from gemcut.engine.request import Request
from gemcut.engine.runner import Runner
from gemcut.engine.sampling import Sampler
from gemcut.engine.scheduler import Limits, Scheduler
from gemcut.errors import EngineFailed, GemcutError
from gemcut.model.gemma4 import Gemma4


@dataclass(frozen=True)
class Job:
    """A request with what is needed to choose its tokens.

    soft: (S, C), the soft tokens of its media, in order.
    """

    request: Request
    sampler: Sampler
    stop_ids: tuple[int, ...]
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


@dataclass
class _Sample:
    """A sample under way."""

    job: Job
    stream: TokenStream
    made: list[int] = field(default_factory=list)


class Engine:
    """Runs the requests of many callers together.  Its thread ends with it."""

    def __init__(self, model: Gemma4, memory: MemoryPlan, limits: Limits) -> None:
        self._loop = _Loop(Scheduler(memory.layout, limits), Runner(model, memory.layout))
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

    def __init__(self, scheduler: Scheduler, runner: Runner) -> None:
        self._scheduler = scheduler
        self._runner = runner
        self._changed = threading.Condition()
        self._samples: dict[Key, _Sample] = {}
        self._soft: dict[int, Tensor] = {}
        self._failure: Exception | None = None

    def submit(self, job: Job) -> list[TokenStream]:
        with self._changed:
            if self._failure is not None:
                raise EngineFailed(f"the engine stopped: {self._failure}; load the model anew")
            self._scheduler.add(job.request)
            keys = [(job.request.id, sample) for sample in range(job.request.num_samples)]
            streams = [TokenStream(key, self) for key in keys]
            self._samples |= {s.key: _Sample(job, s) for s in streams}
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
        made: dict[Key, Made] = {}
        for rows, result in zip(planned, logits, strict=True):
            key = rows.progress.key
            if not rows.chooses or key not in self._samples:
                continue
            sample = self._samples[key]
            try:
                made[key] = self._next(rows, sample, result[-1])
            except GemcutError as error:
                sample.stream.put(error)
                self._scheduler.end(key)
                self._forget(key)
        return made

    def _next(self, rows: Rows, sample: _Sample, logits: Tensor) -> Made:
        job = sample.job
        seen = logits.new_tensor(rows.progress.ids, dtype=int)
        chosen = job.sampler.choose(logits, seen, len(sample.made))
        sample.made.append(chosen)
        sample.stream.put(Token(chosen, float(logits[chosen] - logits.logsumexp(0))))
        ended = chosen in job.stop_ids or len(sample.made) == job.request.max_tokens
        if ended:
            sample.stream.put(None)
            self._forget(rows.progress.key)
        return Made((chosen,), ended)

    def _forget(self, key: Key) -> None:
        self._samples.pop(key, None)
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
