"""How far a request has come, and what of it runs in a step."""

from dataclasses import dataclass, field
from typing import Literal

from gemcut.engine.pages import PageLayout, PrefixHashes, Table
from gemcut.engine.request import Request, cut_back

Key = tuple[int, int]  # a request's id, and the number of the sample


@dataclass(eq=False, slots=True)
class Progress:
    """One sample of a request; the scheduler changes it.

    key: its name.  arrival: smaller for those that came earlier.
    ids: the prompt and what has followed.  computed: how many of them have their keys and values in pages.
    num_cached: how many were there already when it began for the first time.
    hashes: of the whole pages of `ids`.  edges: where the window is to be kept once computed, ascending.
    sliding_peak: the most sliding pages that it must hold at once.
    waits_for: hash of a page that another request is computing for both.
    """

    request: Request
    key: Key
    arrival: int
    ids: list[int]
    hashes: PrefixHashes
    sliding_peak: int
    state: Literal["waiting", "running", "ended"] = "waiting"
    computed: int = 0
    num_cached: int | None = None
    table: Table = field(default_factory=Table)
    edges: list[int] = field(default_factory=list)
    waits_for: bytes | None = None

    @classmethod
    def of(cls, request: Request, sample: int, arrival: int, layout: PageLayout) -> "Progress":
        """A sample that has not begun."""
        hashes = PrefixHashes(layout.page_tokens, request.media, request.adapter)
        hashes.extend(request.prompt_ids)
        peak = layout.sliding_peak(request.most_tokens, request.media)
        return cls(request, (request.id, sample), arrival, list(request.prompt_ids), hashes, peak)

    @property
    def pending(self) -> int:
        """Known tokens that are still to be computed: 1 while it decodes, more while it reads."""
        return len(self.ids) - self.computed

    @property
    def num_made(self) -> int:
        """Tokens of the reply so far."""
        return len(self.ids) - len(self.request.prompt_ids)

    @property
    def scores(self) -> bool:
        """Whether the results of its prompt's rows are wanted; one sample of a request is enough."""
        return self.request.score_prompt and self.key[1] == 0

    def scores_from(self, start: int) -> bool:
        """Whether the result of every row is wanted where rows begin at `start`."""
        return self.scores and start < len(self.request.prompt_ids)

    def begin(self, table: Table, computed: int, layout: PageLayout) -> None:
        """Runs from there on, its window to be kept at the boundaries and where known pages end."""
        self.table, self.computed, self.state, self.waits_for = table, computed, "running", None
        self.num_cached = computed if self.num_cached is None else self.num_cached
        last = len(self.request.prompt_ids) - 1  # the same prompt again computes one token at least
        places = (*self.request.boundaries, last, table.num_found * layout.page_tokens)
        edges = {self.edge(position, layout) for position in places}
        self.edges = sorted(edge for edge in edges if edge > computed)

    def want_edge(self, position: int, layout: PageLayout) -> None:
        """Keeps the window before this position too, if the sequence has not left it behind."""
        edge = self.edge(position, layout)
        if edge > 0 and edge >= self.computed - self.computed % layout.page_tokens:
            self.edges = sorted({*self.edges, edge})

    def edge(self, position: int, layout: PageLayout) -> int:
        """The last place up to `position` where another sequence could go on."""
        return cut_back(position, self.request.media, layout.page_tokens)

    def chunk_end(self, start: int, end: int) -> int:
        """The last place up to `end` where rows that begin at `start` may stop: within no whole span."""
        for span in reversed(self.request.media):
            if span.whole and span.start < end < span.end:
                end = span.start
        return max(start, end)

    def whole_end(self, start: int) -> int:
        """Where the shortest possible chunk ends that begins at `start`."""
        for span in self.request.media:
            if span.whole and span.start == start:
                return span.end
        return start + 1


@dataclass(eq=False, slots=True)  # many are made in a step; a frozen one takes five times as long
class Rows:
    """What one sequence computes in a step: its tokens from position `start` on.

    Where they stand in pages its table says, until the next step is planned.
    ids: known tokens, and behind them `num_drafts` guesses.
    chooses: whether the next token is to be chosen, from the last known token's row and those of the guesses.
    num_outputs: how many of the rows, the last ones, have a result that is wanted.
    scores: whether those of the prompt are, for the log probabilities of its tokens.
    """

    progress: Progress
    start: int
    ids: tuple[int, ...]
    num_drafts: int
    chooses: bool
    num_outputs: int
    scores: bool
