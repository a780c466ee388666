"""Many requests, one model: a thread that plans steps, runs them, and hands out tokens as they are made.

`submit` may be called from any thread.  What fails in one request fails that request alone; if the loop
itself fails, every stream raises the error, and so does every later `submit`.
"""

import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import torch
from torch import Tensor

from gemcut.engine.constraint import Constraint, stack_masks, unpack
from gemcut.engine.drafting import PagedDrafter, Speculator
from gemcut.engine.job import Job
from gemcut.engine.logprobs import TokenLogprobs, token_logprobs
from gemcut.engine.memory import MemoryPlan
from gemcut.engine.naive import SCORED_ROWS, Token, advanced
from gemcut.engine.occupancy import Occupancy, occupancy_of
from gemcut.engine.progress import Key, Rows
from gemcut.engine.request import Request
from gemcut.engine.results import Results
from gemcut.engine.runner import Runner
from gemcut.engine.sample import Choosing, Sample
from gemcut.engine.sampling import BatchSampler
from gemcut.engine.scheduler import Limits, Scheduler
from gemcut.engine.speculative import USUAL, Speculation
from gemcut.engine.token_stream import TokenStream
from gemcut.errors import EngineFailed, RequestTooLarge
from gemcut.model.drafter import Drafter

LAST_STEP_S = 10.0  # how long a program's end waits for the step that is under way


class Engine:
    """Runs the requests of many callers together.  Its thread ends with it."""

    def __init__(
        self,
        runner: Runner,
        memory: MemoryPlan,
        limits: Limits,
        speculation: Speculation = USUAL,
        drafter: Drafter | None = None,
    ) -> None:
        self.memory = memory
        sampler = BatchSampler(limits.max_running, runner.model.config.text.vocab_size, runner.device)
        speculator = Speculator(speculation, None if drafter is None else PagedDrafter(drafter, runner))
        self._loop = _Loop(Scheduler(memory.layout, limits), runner, sampler, speculator)
        self._thread = threading.Thread(target=self._loop.run, name="gemcut-engine", daemon=True)
        self._thread.start()
        self.close = weakref.finalize(self, _stop, self._loop, self._thread)  # also at the program's end

    def check(self, request: Request) -> None:
        """Raises RequestTooLarge where the request could not run even alone."""
        self._loop.check(request)

    def submit(self, job: Job, ring: Callable[[], None] | None = None) -> list[TokenStream]:
        """The streams of a request, one a sample.

        ring: called when one of them has something, as `TokenStream` says.
        Raises RequestTooLarge, and EngineFailed once the engine has failed or was closed.
        """
        return self._loop.submit(job, ring)

    def occupancy(self) -> Occupancy:
        """How full it is at this moment."""
        return self._loop.occupancy()


def _stop(loop: "_Loop", thread: threading.Thread) -> None:
    """Ends all requests and the thread: torch must not be at work while the program is taken down."""
    loop.stop()
    if threading.current_thread() is not thread:
        thread.join(LAST_STEP_S)


class _Loop:
    """What the engine's thread runs.

    Other threads leave jobs and cancellations in `_inbox`, which `_changed` guards; all else is its own.
    """

    def __init__(
        self, scheduler: Scheduler, runner: Runner, sampler: BatchSampler, speculator: Speculator
    ) -> None:
        self._scheduler = scheduler
        self._runner = runner
        self._sampler = sampler
        self._speculator = speculator
        self._free_slots = list(range(scheduler.limits.max_running))
        self._samples: dict[Key, Sample] = {}
        self._constraints: dict[Key, Constraint] = {}  # of those samples that have one
        self._masks = ThreadPoolExecutor(1, "gemcut-masks")
        self._num_words = -(-runner.model.config.text.vocab_size // 32)
        self._changed = threading.Condition()
        self._inbox: list[tuple[Job, list[TokenStream]] | Key] = []
        self._failure: Exception | None = None

    def check(self, request: Request) -> None:
        self._scheduler.check_size(request)

    def submit(self, job: Job, ring: Callable[[], None] | None) -> list[TokenStream]:
        self.check(job.request)
        keys = [(job.request.id, number) for number in range(len(job.choices))]
        streams = [TokenStream(key, self.cancel, ring) for key in keys]
        with self._changed:
            if self._failure is not None:
                raise stopped_by(self._failure)
            self._inbox.append((job, streams))
            self._changed.notify()
        return streams

    def occupancy(self) -> Occupancy:
        return occupancy_of(self._scheduler, self._failure is not None)

    def cancel(self, key: Key) -> None:
        with self._changed:
            self._inbox.append(key)
            self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            if self._failure is None:
                self._failure = EngineFailed("it was closed")
            self._changed.notify()

    @torch.inference_mode()
    def run(self) -> None:
        """Steps until the engine is stopped or fails; then every caller that waits is told."""
        try:
            while self._read_inbox():
                self._step()
        except Exception as error:
            with self._changed:
                self._failure = error
        with self._changed:
            waiting = [sample.stream for sample in self._samples.values()]
            waiting += [stream for item in self._inbox if isinstance(item[1], list) for stream in item[1]]
        assert self._failure is not None, "only a failure ends the loop"
        for stream in waiting:
            stream.put(stopped_by(self._failure))
        self._samples.clear()
        self._masks.shutdown()

    def _read_inbox(self) -> bool:
        """Waits until there is something to do, and takes in what callers left; False once stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._inbox or self._samples or self._failure)
            if self._failure is not None:
                return False
            inbox, self._inbox = self._inbox, []
        for item in inbox:
            if isinstance(item[1], list):
                job, streams = item
                self._scheduler.add(job.request)
                for choice, stream in zip(job.choices, streams, strict=True):
                    self._samples[stream.key] = Sample(job, choice, stream)
                    if choice.constraint is not None:
                        self._constraints[stream.key] = choice.constraint
            else:
                self._end(item)
        return True

    def _step(self) -> None:
        planned = self._scheduler.next_step(self._speculator.propose(self._scheduler.running, self._forced()))
        start = time.perf_counter()
        if not planned:
            self._scheduler.commit({}, ())
            return
        held = self._held(rows.progress.key for rows in planned if rows.chooses)
        masks = self._masks.submit(_masks_of, held) if held else None  # made while the model runs
        try:
            hidden = self._runner.run(planned, self._soft(planned))
        except (RuntimeError, MemoryError) as error:
            wait([] if masks is None else [masks])
            if not is_out_of_memory(error):
                raise
            self._give_way(planned, error)
            return
        self._score(planned, hidden)
        failed, permitted = ({}, {}) if masks is None else masks.result()
        made, ended = self._choose(planned, hidden, permitted, failed)
        self._speculator.learn(planned, hidden, made, time.perf_counter() - start)
        self._scheduler.commit(made, ended)
        for key, reason in failed.items():
            self._fail(key, reason)

    def _forced(self) -> dict[Key, tuple[int, ...]]:
        """Tokens about which constraints leave no choice: guesses that are right for sure."""
        return {key: constraint.forced for key, constraint in self._constraints.items()}

    def _held(self, keys: Iterable[Key]) -> dict[Key, Constraint]:
        """The constraints of those to which some token is forbidden now."""
        known = self._constraints
        return {key: known[key] for key in keys if key in known and known[key].restricts} if known else {}

    def _soft(self, planned: Sequence[Rows]) -> dict[int, Tensor]:
        """The soft tokens of the requests that have media."""
        return {
            rows.progress.request.id: self._samples[rows.progress.key].job.soft
            for rows in planned
            if rows.progress.request.media
        }

    def _choose(
        self,
        planned: Sequence[Rows],
        hidden: Results,
        permitted: dict[Key, Tensor],
        failed: dict[Key, Exception],
    ) -> tuple[dict[Key, Sequence[int]], list[Key]]:
        """The next tokens of each sequence that chooses, and those whose reply ends with them.

        `failed` gets the sequences in which this fails, and they get no tokens.

        Place by place: the token behind the last known one, then, where that was the guess, the one behind
        the guess.  So at every place counts, grammar and stops are as they would be without guesses.
        """
        chosen: list[Choosing] = []
        wanted: list[int] = []
        for rows, end in zip(planned, hidden.ends, strict=True):
            if not rows.chooses:
                continue
            key = rows.progress.key
            sample = self._samples[key]
            try:
                slot = self._new_slot(sample, rows) if sample.slot is None else sample.slot
            except Exception as error:
                failed[key] = error
            if key not in failed:
                chosen.append(Choosing(key, rows, sample, slot, len(wanted)))
                first = end - 1 - rows.num_drafts
                wanted.append(first)
                if rows.num_drafts:
                    wanted += range(first + 1, end)
        logits = self._runner.logits(hidden.take(wanted)) if wanted else None
        under_way = chosen
        while under_way and logits is not None:
            self._choose_next(under_way, logits, permitted, failed)
            under_way = [one for one in under_way if one.rows.num_drafts and one.goes_on]
            under_way = [one for one in under_way if one.key not in failed]
            problems, permitted = _masks_of(self._held(one.key for one in under_way))
            failed |= problems
            under_way = [one for one in under_way if one.key not in problems]
        made: dict[Key, Sequence[int]] = dict.fromkeys(failed, ())
        made |= {one.key: one.tokens for one in chosen}
        return made, [one.key for one in chosen if one.ended]

    def _choose_next(
        self,
        under_way: Sequence[Choosing],
        logits: Tensor,
        permitted: dict[Key, Tensor],
        failed: dict[Key, Exception],
    ) -> None:
        """One token for each.  logits: (M, V), of all sequences and places of the step."""
        places = [one.row + len(one.tokens) for one in under_way]
        rows = logits if len(places) == len(logits) else logits[torch.tensor(places, device=logits.device)]
        slots = [one.slot for one in under_way]
        positions = [one.sample.choice.stops.num_tokens for one in under_way]
        packed = (
            stack_masks([permitted.get(one.key) for one in under_way], self._num_words) if permitted else None
        )
        masks = None if packed is None else unpack(packed.to(rows.device), rows.shape[-1])  # (R, V) bool
        ids = self._sampler.choose(rows, slots, positions, masks)
        self._sampler.observe(slots, ids)
        logprobs = self._sampler.logprobs(rows, slots, ids)
        for one, token_id, found in zip(under_way, ids.tolist(), logprobs, strict=True):
            one.tokens.append(token_id)
            try:
                one.ended = self._advance(one.sample, token_id, found)
            except Exception as error:
                failed[one.key] = error

    def _new_slot(self, sample: Sample, rows: Rows) -> int:
        """A slot of the sampler for a sample that begins; those that had to give way hand theirs over."""
        sample.stream.num_cached = rows.progress.num_cached or 0
        if not self._free_slots:
            self._take_slots_of_the_waiting()
        sample.slot = slot = self._free_slots.pop()
        prompt = rows.progress.request.prompt_ids
        self._sampler.put(slot, sample.choice.sampling, prompt, rows.progress.ids[len(prompt) :])
        return slot

    def _take_slots_of_the_waiting(self) -> None:
        for progress in self._scheduler.waiting:
            sample = self._samples[progress.key]
            if sample.slot is not None:
                self._free_slots.append(sample.slot)
                sample.slot = None

    def _advance(self, sample: Sample, token_id: int, logprobs: TokenLogprobs | None) -> bool:
        """Hands a token over; returns whether the reply ends with it."""
        constraint, stops = sample.choice.constraint, sample.choice.stops
        ends = constraint is not None and advanced(constraint, token_id)
        over = stops.push(token_id, ends) or stops.num_tokens == sample.job.request.max_tokens
        sample.stream.put(Token(token_id, logprobs, ends))
        if over:
            sample.stream.put(None)
            self._forget(sample.stream.key)
        return over

    def _score(self, planned: Sequence[Rows], hidden: Results) -> None:
        """Log probabilities of prompts' tokens, for those who want them; what was scored before stays."""
        for number, rows in enumerate(planned):
            if not rows.scores:
                continue
            sample, result = self._samples[rows.progress.key], hidden[number]
            if sample.job.prompt_logprobs is None:
                continue
            scored, prompt = sample.stream.prompt_logprobs, rows.progress.request.prompt_ids
            following = prompt[rows.start + 1 : rows.start + 1 + len(result)]
            fresh = len(scored) - rows.start  # rows of a prompt that is read again are known
            for start in range(max(0, fresh), len(following), SCORED_ROWS):
                end = min(start + SCORED_ROWS, len(following))
                ids = torch.tensor(following[start:end], device=result.device)
                logits = self._runner.logits(result[start:end])
                scored += token_logprobs(logits, ids, sample.job.prompt_logprobs)

    def _give_way(self, planned: Sequence[Rows], error: Exception) -> None:
        """Makes steps smaller after one that memory did not suffice for; what cannot be smaller fails."""
        self._scheduler.abandon_step()
        first = planned[0]
        if len(planned) == 1 and first.progress.whole_end(first.start) >= first.start + len(first.ids):
            reason = f"memory does not suffice for a step of {len(first.ids)} tokens: {error}"
            self._fail(first.progress.key, RequestTooLarge(f"{reason}; lower the engine's cache_bytes"))
            return
        self._scheduler.lower_limits(max(1, sum(len(rows.ids) for rows in planned) // 2))

    def _fail(self, key: Key, error: Exception) -> None:
        """Ends a sample with an error for its reader."""
        if key in self._samples:
            self._samples[key].stream.put(error)
            self._end(key)

    def _end(self, key: Key) -> None:
        self._scheduler.end(key)
        self._forget(key)

    def _forget(self, key: Key) -> None:
        sample = self._samples.pop(key, None)
        self._constraints.pop(key, None)
        if sample is not None and sample.slot is not None:
            self._free_slots.append(sample.slot)


def _masks_of(held: Mapping[Key, Constraint]) -> tuple[dict[Key, Exception], dict[Key, Tensor]]:
    """The tokens (W,) int32 that constraints permit; first, where that failed."""
    failed: dict[Key, Exception] = {}
    found: dict[Key, Tensor] = {}
    for key, constraint in held.items():
        try:
            found[key] = constraint.mask()
        except Exception as error:
            failed[key] = error
    return failed, found


def stopped_by(failure: Exception) -> EngineFailed:
    """What every caller is told once the engine has stopped."""
    reason = str(failure) or repr(failure)
    error = EngineFailed(f"the engine stopped: {reason}; load the model anew")
    error.__cause__ = failure
    return error


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory did not suffice, of the device or of the machine."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or "can't allocate memory" in str(error)  # torch's CPU allocator has no error of its own
