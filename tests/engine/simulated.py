"""A model that only tells what it reads: memory is a dict from slots to what was written there.

What a row writes stands for everything its keys and values depend on: all tokens up to its own, or to the end
of its image, their media and the adapter.  So a read of a wrong, stale or missing slot cannot go unseen.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from zlib import crc32

from gemcut.config import AttentionKind
from gemcut.engine.pages import SCRATCH, PageLayout, Pool
from gemcut.engine.progress import Key, Progress, Rows
from gemcut.engine.request import MediaSpan, Request
from gemcut.engine.scheduler import Limits, Scheduler

VOCABULARY = 97
STOP = 0
MASK = 2**61 - 1

Drafter = Callable[[Progress], Sequence[int]]


def no_drafts(progress: Progress) -> Sequence[int]:
    return ()


def span_at(position: int, media: Sequence[MediaSpan]) -> MediaSpan | None:
    return next((span for span in media if span.start <= position < span.end), None)


def prefixes(ids: Sequence[int], request: Request, known: Sequence[int] = ()) -> list[int]:
    """A hash for each position, of everything up to it; `known`: those of the first positions."""
    found = list(known)
    value = found[-1] if found else crc32(request.adapter)
    for position in range(len(found), len(ids)):
        span = span_at(position, request.media)
        value = hash((value, ids[position], 0 if span is None else crc32(span.digest))) & MASK
        found.append(value)
    return found


def contents(found: Sequence[int], request: Request) -> list[int]:
    """What the row at each position writes, after the hashes of all prefixes; they end within no image."""
    values = list(found)
    for span in request.media:
        if span.whole and span.end <= len(values):
            values[span.start : span.end] = [values[span.end - 1]] * (span.end - span.start)
    return values


def next_token(prefix: int) -> int:
    return prefix // 7 % VOCABULARY


def continuation(ids: Sequence[int], request: Request, length: int, known: Sequence[int] = ()) -> list[int]:
    """What the model says next, so many tokens."""
    ids, known = list(ids), list(known)
    start = len(ids)
    for _ in range(length):
        known = prefixes(ids, request, known)
        ids.append(next_token(known[-1]))
    return ids[start:]


def ends(made: Sequence[int], request: Request) -> bool:
    return made[-1] == STOP or len(made) == request.max_tokens


def naive_reply(request: Request) -> list[int]:
    """What the model says to a prompt alone."""
    made = continuation(request.prompt_ids, request, request.max_tokens)
    return made[: made.index(STOP) + 1] if STOP in made else made


class Simulation:
    """A scheduler, and the model and memory behind it; every step is checked."""

    def __init__(self, layout: PageLayout, limits: Limits) -> None:
        self.layout = layout
        self.scheduler = Scheduler(layout, limits)
        self.memory: dict[AttentionKind, dict[int, int]] = {"full_attention": {}, "sliding_attention": {}}
        self.prefixes: dict[Key, list[int]] = {}
        self.replies: dict[Key, list[int]] = {}
        self.rows_run: Counter[int] = Counter()  # by request
        self.num_steps = 0

    def step(
        self, drafter: Drafter = no_drafts, between: Callable[[], None] = lambda: None
    ) -> tuple[Rows, ...]:
        """One step, with `between` called while it runs."""
        drafts = {progress.key: drafter(progress) for progress in self.scheduler.running}
        step = self.scheduler.next_step(drafts)
        written: set[tuple[AttentionKind, int]] = set()
        values = [self._contents(rows) for rows in step]
        for rows, held in zip(step, values, strict=True):
            self._write(rows, held, written)
        for rows, held in zip(step, values, strict=True):
            self._read(rows, held)
            self.rows_run[rows.progress.request.id] += len(rows.ids)
        made = {rows.progress.key: self._choose(rows) for rows in step if rows.chooses}
        ended = [rows.progress.key for rows in step if rows.chooses and self._ends(rows, made)]
        between()
        self.scheduler.commit(made, ended)
        for rows in step:
            self.replies[rows.progress.key] = rows.progress.ids[len(rows.progress.request.prompt_ids) :]
        self.num_steps += 1
        check_pages(self.scheduler)
        return step

    def run(self, drafter: Drafter = no_drafts, most_steps: int = 10_000) -> None:
        """Steps until every request has ended."""
        for _ in range(most_steps):
            if not self.scheduler.running and not self.scheduler.waiting:
                return
            assert self.step(drafter), "requests are left and nothing runs"
        raise AssertionError(f"requests are left after {most_steps} steps")

    def _contents(self, rows: Rows) -> list[int]:
        """What every position up to the last of these rows must hold."""
        progress = rows.progress
        known = self.prefixes[progress.key] = prefixes(
            progress.ids, progress.request, self.prefixes.get(progress.key, ())
        )
        ids = progress.ids[: rows.start] + list(rows.ids)
        assert ids[: len(progress.ids)] == progress.ids[: len(ids)]
        return contents(prefixes(ids, progress.request, known[: len(ids)]), progress.request)

    def _write(self, rows: Rows, values: Sequence[int], written: set[tuple[AttentionKind, int]]) -> None:
        size, table = self.layout.page_tokens, rows.progress.table
        for kind, (pages, first_page) in tables(rows).items():
            pool = pool_of(self.scheduler, kind)
            found = table.num_found * size if kind == "full_attention" else 0  # others wrote what is below
            for position, value in enumerate(values[rows.start :], rows.start):
                page = pages[position // size - first_page]
                slot = page * size + position % size
                if position >= found:
                    assert page != SCRATCH
                    assert (kind, slot) not in written, "two rows write the same slot"
                    assert (pool.users[page], pool.kept[page]) == (1, 0), "the page is another's too"
                    written.add((kind, slot))
                    self.memory[kind][slot] = value

    def _read(self, rows: Rows, values: Sequence[int]) -> None:
        """Whether the rows find all that one of them may see: themselves and the rest of an image too."""
        size, end = self.layout.page_tokens, len(values)
        first = {"full_attention": 0, "sliding_attention": max(0, rows.start - self.layout.window + 1)}
        for kind, (pages, begin) in tables(rows).items():
            memory = self.memory[kind]
            assert first[kind] // size >= begin, "the window has moved on"
            found = [memory[pages[at // size - begin] * size + at % size] for at in range(first[kind], end)]
            assert found == values[first[kind] :]

    def _choose(self, rows: Rows) -> list[int]:
        """The guesses that are right and one token more, up to the reply's end."""
        progress = rows.progress
        guesses = rows.ids[len(rows.ids) - rows.num_drafts :]
        so_far = progress.ids[len(progress.request.prompt_ids) :]
        known = self.prefixes[progress.key]
        made: list[int] = []
        for place, token in enumerate(
            continuation(progress.ids, progress.request, rows.num_drafts + 1, known)
        ):
            made.append(token)
            if ends(so_far + made, progress.request):
                return made
            if place == rows.num_drafts or guesses[place] != token:
                break
        return made

    @staticmethod
    def _ends(rows: Rows, made: dict[Key, list[int]]) -> bool:
        progress = rows.progress
        reply = progress.ids[len(progress.request.prompt_ids) :] + made[progress.key]
        return ends(reply, progress.request)


def tables(rows: Rows) -> dict[AttentionKind, tuple[list[int], int]]:
    """The pages of the rows' sequence for each kind of layer, and which of its pages is the first."""
    table = rows.progress.table
    return {"full_attention": (table.full, 0), "sliding_attention": (table.sliding, table.first_sliding)}


def pool_of(scheduler: Scheduler, kind: AttentionKind) -> Pool:
    return scheduler.pages.full if kind == "full_attention" else scheduler.pages.sliding


def check_pages(scheduler: Scheduler) -> None:
    """Each page is owned or free, everything counted is there, nothing leaked."""
    pages, running = scheduler.pages, scheduler.running
    held = {"full": Counter[int](), "sliding": Counter[int]()}
    for progress in running:
        held["full"].update(progress.table.full)
        held["sliding"].update(progress.table.sliding)
        count = pages.layout.pages_for(progress.computed)
        assert len(progress.table.full) >= count
        assert progress.table.first_sliding + len(progress.table.sliding) >= count
        assert progress.state == "running"
    kept = {
        "full": Counter(pages._found.values()),
        "sliding": Counter(page for window in pages._windows.values() for page in window),
    }
    for name, pool in (("full", pages.full), ("sliding", pages.sliding)):
        for page in range(pool.num_pages):
            assert pool.users[page] == held[name][page]
            assert pool.kept[page] == kept[name][page]
        unheld = {page for page in range(pool.num_pages) if not held[name][page] and not kept[name][page]}
        assert sorted(pool.free) == sorted(unheld - {SCRATCH})
        assert SCRATCH not in held[name] | kept[name]
        assert pool.available == pool.num_pages - 1 - len(held[name])
    for progress in running:
        assert progress.table.slots == pages.layout.page_tokens * min(
            len(progress.table.full), progress.table.first_sliding + len(progress.table.sliding)
        )
    assert set(pages._idle) == set(kept["full"]) - set(held["full"])
    assert {key: page for page, key in pages._hash_of.items()} == pages._found
    assert set(pages._windows) <= set(pages._found)
    for progress in scheduler.waiting:
        assert (progress.state, progress.computed, progress.table.full) == ("waiting", 0, [])
    for queue in (running, scheduler.waiting):
        arrivals = [progress.arrival for progress in queue]
        assert arrivals == sorted(set(arrivals))
    assert len(running) <= scheduler.limits.max_running
    assert set(scheduler._reading.values()) <= set(running)
