"""Which rows run in the next step: continuous batching over pages; no tensors.

Each step has a budget of tokens.  First every reply that is being made gets its next row (and its guesses),
then prompts are read with what is left: half for the one that came first, so that none starves, the other
half for the one that needs least, so that a long prompt holds up nobody.  Requests join in the order of their
arrival.  One that begins as another does that is being read just now waits for it instead of computing the
same again; so do the samples of one prompt.  When pages run out, the youngest gives all of its own back and
reads again later what it had, its reply so far included.

A step: `next_step`, run the rows, choose tokens, `commit`.  `add` and `cancel` may come at any time between.
"""

from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gemcut.engine.pages import Hit, PageLayout, Pages
from gemcut.engine.progress import Key, Progress, Rows
from gemcut.engine.request import Request
from gemcut.errors import BadOption, RequestTooLarge


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much runs at once.

    step_tokens: rows of a step; only an image that is larger by itself may exceed it.
    max_running: sequences that hold pages.

    Raises BadOption unless every running sequence can have a row in each step.
    """

    step_tokens: int
    max_running: int

    def __post_init__(self) -> None:
        if not 1 <= self.max_running <= self.step_tokens:
            raise BadOption(
                f"max_running is {self.max_running} and step_tokens {self.step_tokens}; "
                "at least 1 runs, and each needs a token of the step: lower max_running or raise step_tokens"
            )


CPU_LIMITS = Limits(step_tokens=512, max_running=16)  # unless told otherwise
GPU_LIMITS = Limits(step_tokens=2048, max_running=256)


class Scheduler:
    """Requests that wait and run, and the pages that they use."""

    def __init__(self, layout: PageLayout, limits: Limits) -> None:
        self.layout = layout
        self.limits = limits
        self.pages = Pages(layout)
        self.waiting: list[Progress] = []  # both lists in the order of arrival
        self.running: list[Progress] = []
        self._samples: dict[int, list[Progress]] = {}
        self._arrivals = 0
        self._reading: dict[bytes, Progress] = {}  # hashes of pages that running requests are to read
        self._ends: dict[Progress, int] = {}  # of the step's rows
        self._left = 0  # of the step's budget
        self._drafts: Mapping[Key, Sequence[int]] = {}
        self._step: tuple[Rows, ...] = ()

    def check_size(self, request: Request) -> None:
        """Raises RequestTooLarge where it could not run even alone; any thread may ask."""
        layout, prompt = self.layout, len(request.prompt_ids)
        if request.most_tokens > layout.most_tokens:
            raise RequestTooLarge(
                f"the prompt has {prompt} tokens, up to {request.max_tokens} may follow, and the memory for "
                f"keys and values holds {layout.most_tokens}; shorten the prompt, lower max_tokens, or raise "
                "the engine's cache_bytes"
            )
        peak = layout.sliding_peak(request.most_tokens, request.media)
        if peak > layout.sliding_pages - 1:
            most = max(span.end - span.start for span in request.media)
            raise RequestTooLarge(
                f"an image of the prompt has {most} soft tokens, which are read at once and take {peak} pages"
                f" of sliding layers, and there are {layout.sliding_pages - 1}; lower the image's tokens, or"
                " raise the engine's cache_bytes"
            )

    def add(self, request: Request) -> None:
        """Takes in a request.

        Raises RequestTooLarge where it could not run even alone.
        """
        assert request.prompt_ids, "an empty prompt is refused before"
        assert request.id not in self._samples, "two requests under way have the same id"
        self.check_size(request)
        samples = []
        for sample in range(request.num_samples):
            samples.append(Progress.of(request, sample, self._arrivals, self.layout))
            self._arrivals += 1
        self._samples[request.id] = samples
        self.waiting += samples

    def cancel(self, request_id: int) -> None:
        """Ends what is left of a request, if anything is; its pages are free at once."""
        for progress in tuple(self._samples.get(request_id, ())):
            self._end(progress)

    def end(self, key: Key) -> None:
        """Ends one sample of a request, if it has not ended; its pages are free at once."""
        for progress in tuple(self._samples.get(key[0], ())):
            if progress.key == key:
                self._end(progress)

    def next_step(self, drafts: Mapping[Key, Sequence[int]]) -> tuple[Rows, ...]:
        """The rows to run now; none where no request is left.

        drafts: guesses of what follows the last token of sequences; as many are tried as there is room for.
        """
        assert not self._step, "the step before was not committed"
        self._ends, self._left, self._drafts = {}, self.limits.step_tokens, drafts
        for progress in tuple(self.running):
            known = len(progress.ids)
            if progress.state != "running" or known - progress.computed != 1:
                continue
            if known <= progress.table.slots and progress.key not in drafts:  # nearly always
                self._ends[progress] = known
                self._left -= 1
            else:
                self._decode(progress, known)
        self._admit()
        if len(self._ends) < len(self.running):
            self._read()
        ends = self._ends
        self._step = tuple([self._rows(one, ends[one]) for one in self.running if one in ends])
        return self._step

    def abandon_step(self) -> None:
        """Forgets the step that was planned and did not run; its sequences read again what they had."""
        step, self._step = self._step, ()
        for rows in reversed(step):
            if rows.progress.state == "running":
                self._preempt(rows.progress)

    def lower_limits(self, step_tokens: int) -> None:
        """Plans smaller steps from now on, between two steps."""
        step_tokens = min(step_tokens, self.limits.step_tokens)
        max_running = min(self.limits.max_running, step_tokens)
        self.limits = Limits(step_tokens=step_tokens, max_running=max_running)

    def commit(self, made: Mapping[Key, Sequence[int]], ended: Iterable[Key]) -> None:
        """Ends the step.

        made: of each sequence that chooses, the guesses that were right, and one token more; nothing behind a
        token that ends the reply.  ended: those whose reply ends here.
        """
        step, self._step = self._step, ()
        size = self.layout.page_tokens
        for rows in step:
            progress = rows.progress
            if progress.state != "running":  # cancelled while the step ran
                continue
            start, end = rows.start, rows.start + len(rows.ids)
            if rows.chooses:
                tokens = made[progress.key]
                progress.ids += tokens
                if rows.num_drafts:
                    end -= rows.num_drafts - num_right(rows, tokens)
            progress.computed = end
            if end // size > start // size:
                self._turn_page(progress, start, end)
        for key in ended:
            self.end(key)

    def _decode(self, progress: Progress, known: int) -> None:
        """Plans the next row of a reply, and its guesses as far as pages and budget go without harm."""
        guesses = self._drafts.get(progress.key, ())
        spare = (self._left - len(self.running)) // 2  # each has its row, and reading has as much
        room = progress.request.most_tokens - known - 1  # the last token of a reply is never read
        num_drafts = max(0, min(len(guesses), spare, room))
        self._reserve(progress, known + num_drafts, patient=False)

    def _read(self) -> None:
        """Plans chunks of prompts, of those too that are read again after they had to give way."""
        reading = [progress for progress in self.running if progress not in self._ends]
        if reading:
            self._read_chunk(reading[0], (self._left + 1) // 2, first=True)
        for progress in sorted(reading, key=lambda progress: (progress.pending, progress.arrival)):
            if progress.state == "running":
                self._read_chunk(progress, self._left, first=False)

    def _read_chunk(self, progress: Progress, most: int, first: bool) -> None:
        """Plans up to `most` rows more; for the `first` of all at least a token or a whole image."""
        start = self._ends.get(progress, progress.computed)
        end = progress.chunk_end(start, min(start + most, len(progress.ids)))
        if first and end == start:
            end = progress.whole_end(start)
        if end > start:
            self._reserve(progress, end, patient=not first)

    def _reserve(self, progress: Progress, end: int, patient: bool) -> None:
        """Plans rows up to `end`, or as far as pages reach.

        If that is no row, the youngest sequences give way, the progress's own at last; the `patient` wait.
        """
        start = self._ends.get(progress, progress.computed)
        while progress.state == "running":
            fits = progress.chunk_end(start, min(end, self.pages.reach(progress.table)))
            if fits > start:
                self.pages.grow(progress.table, fits)
                self._ends[progress] = fits
                self._left -= fits - start
                return
            if patient:
                return
            self._preempt(self.running[-1])

    def _preempt(self, progress: Progress) -> None:
        """Takes a sequence's pages and puts it back where it came in the queue."""
        if progress in self._ends:
            self._left += self._ends.pop(progress) - progress.computed
        self._leave_pages(progress)
        progress.state, progress.computed = "waiting", 0
        insort(self.waiting, progress, key=lambda waiting: waiting.arrival)

    def _leave_pages(self, progress: Progress) -> None:
        """Closes the table of a running sequence; where it stands it can be found again."""
        edge = progress.edge(progress.computed, self.layout)
        self.pages.keep_window(progress.table, progress.hashes.of_pages, edge)
        self.pages.close(progress.table)
        self.running.remove(progress)
        for key in progress.hashes.of_pages[progress.computed // self.layout.page_tokens :]:
            self._read_no_longer(key, progress)

    def _read_no_longer(self, key: bytes, progress: Progress) -> None:
        if self._reading.get(key) is progress:
            del self._reading[key]

    def _end(self, progress: Progress) -> None:
        if progress.state == "running":
            self._leave_pages(progress)
        else:
            self.waiting.remove(progress)
        progress.state = "ended"
        samples = self._samples[progress.request.id]
        samples.remove(progress)
        if not samples:
            del self._samples[progress.request.id]

    def _admit(self) -> None:
        """Lets waiting requests join in the order of arrival, while all that they will read has room."""
        for progress in tuple(self.waiting):
            if len(self.running) >= self.limits.max_running:
                return
            if progress.waits_for in self._reading:
                continue
            hit = self._hit(progress)
            if self._waits(progress, hit):
                continue
            if not self._has_room(progress, hit):
                return
            self._join(progress, hit)

    def _hit(self, progress: Progress) -> Hit:
        request = progress.request
        hit = self.pages.find(progress.hashes.of_pages, len(progress.ids), request.media)
        return replace(hit, tokens=0, window=(), key=None) if progress.scores else hit

    def _waits(self, progress: Progress, hit: Hit) -> bool:
        """Whether a running request is about to read what this one has to read next.

        If so, it is told to keep its window where the two part.
        """
        keys, begin = progress.hashes.of_pages, len(hit.full)
        most = (len(progress.ids) - 1) // self.layout.page_tokens
        leader = self._reading.get(keys[begin]) if begin < most else None
        if leader is None:
            return False
        end = begin + 1
        while end < most and self._reading.get(keys[end]) is leader:
            end += 1
        leader.want_edge(end * self.layout.page_tokens, self.layout)
        progress.waits_for = keys[end - 1]
        return True

    def _has_room(self, progress: Progress, hit: Hit) -> bool:
        """Whether its pages are there, beside those that the running ones are still to take.

        Those that decode are left a page each, so that none has to give way soon.
        """
        pages_for = self.layout.pages_for
        promised = sum(max(1, pages_for(len(p.ids)) - len(p.table.full)) for p in self.running)
        needed = pages_for(len(progress.ids)) - len(hit.full) + self.pages.num_idle(hit.full)
        if needed + promised > self.pages.full.available:
            return False
        promised = sum(max(0, p.sliding_peak - len(p.table.sliding)) for p in self.running)
        return progress.sliding_peak + promised <= self.pages.sliding.available

    def _join(self, progress: Progress, hit: Hit) -> None:
        self.waiting.remove(progress)
        insort(self.running, progress, key=lambda running: running.arrival)
        progress.begin(self.pages.open(hit), hit.tokens, self.layout)
        progress.hashes.extend(progress.ids)
        for key in progress.hashes.of_pages[len(hit.full) :]:
            self._reading.setdefault(key, progress)

    def _rows(self, progress: Progress, end: int) -> Rows:
        """The planned rows of one sequence."""
        start, known = progress.computed, len(progress.ids)
        if start + 1 == end == known:  # nearly always
            return Rows(progress, start, (progress.ids[-1],), 0, True, 1, False)
        ids, num_drafts = tuple(progress.ids[start:end]), max(0, end - known)
        if num_drafts:
            ids = (*ids, *self._drafts[progress.key][:num_drafts])
        chooses = end >= known
        scores = progress.scores_from(start)
        num_outputs = len(ids) if scores else num_drafts + 1 if chooses else 0
        return Rows(progress, start, ids, num_drafts, chooses, num_outputs, scores)

    def _turn_page(self, progress: Progress, start: int, end: int) -> None:
        """Makes findable what was filled while `start` became `end` tokens, and leaves what nobody sees."""
        assert len(progress.ids) <= progress.request.most_tokens
        progress.hashes.extend(progress.ids)
        keys, size = progress.hashes.of_pages, self.layout.page_tokens
        self.pages.publish(progress.table, keys, start, end)
        while progress.edges and progress.edges[0] <= end:
            self.pages.keep_window(progress.table, keys, progress.edges.pop(0))
        self.pages.slide(progress.table, end)
        for key in keys[start // size : end // size]:
            self._read_no_longer(key, progress)


def num_right(rows: Rows, tokens: Sequence[int]) -> int:
    """How many of the rows' guesses are among the tokens, which are one more; none where choosing failed."""
    count = max(0, len(tokens) - 1)
    assert tuple(tokens[:-1]) == rows.ids[len(rows.ids) - rows.num_drafts :][:count]
    return count
