"""Memory for keys and values, in pages of a fixed number of tokens; no tensors, only who holds which page.

Layers of the two kinds forget differently, so each kind has a pool of its own, and in each pool one table
serves all layers that own K and V.  With pages of 4 tokens and a window of 8, a sequence of 22 tokens:

    position         0   4   8   12  16  20
    full attention  [a ][b ][c ][d ][e ][f ]     all pages of the sequence
    sliding window           [u ][v ][w ][x ]    what the next row sees, from a page's edge on

Whole pages of full-attention layers are found again by the hash of everything up to their end.  In sliding
layers a beginning of p tokens is found again where the window before p was kept: `keep_window`.  Pages that
others may find are never written again: a sequence that follows writes into pages of its own.
"""

import struct
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from gemcut.config import AttentionKind
from gemcut.engine.request import MediaSpan, cut_back
from gemcut.errors import BadOption

PAGE_TOKENS = 16  # of a page, unless told otherwise
SCRATCH = 0  # a page, and its first slot: where rows write what nobody will read


@dataclass(frozen=True, kw_only=True)
class PageLayout:
    """How the memory is cut up.

    page_tokens: tokens of a page.  window: of sliding layers, the row itself included.
    full_pages, sliding_pages: pages of each pool, the scratch page included.

    Raises BadOption where not even one short request could run.
    """

    page_tokens: int
    window: int
    full_pages: int
    sliding_pages: int

    def __post_init__(self) -> None:
        if self.page_tokens < 1:
            raise BadOption(f"page_tokens is {self.page_tokens}; a page holds at least 1 token")
        least = self.window_pages + 2  # the window, the row itself, scratch
        if self.full_pages < 2 or self.sliding_pages < least:
            raise BadOption(
                f"the memory for keys and values has {self.full_pages} and {self.sliding_pages} pages and "
                f"a single request needs 2 and {least}; raise cache_bytes"
            )

    @property
    def most_tokens(self) -> int:
        """Tokens of the longest sequence that the memory holds."""
        return (self.full_pages - 1) * self.page_tokens

    @property
    def slots(self) -> dict[AttentionKind, int]:
        """Tokens of each pool, the scratch page included."""
        pages: dict[AttentionKind, int] = {
            "full_attention": self.full_pages,
            "sliding_attention": self.sliding_pages,
        }
        return {kind: count * self.page_tokens for kind, count in pages.items()}

    @property
    def window_pages(self) -> int:
        """Pages that hold what a row at a page's edge sees in sliding layers."""
        return self.pages_for(self.window - 1)

    def pages_for(self, tokens: int) -> int:
        """Pages that so many tokens take."""
        return -(-tokens // self.page_tokens)

    def first_seen_page(self, position: int) -> int:
        """Index of the first page to keep in sliding layers for the rows from `position` on.

        One page earlier than these rows see where it is needed to keep the window of the page's edge.
        """
        edge = position - position % self.page_tokens
        return max(0, edge - self.window + 1) // self.page_tokens

    def sliding_pages_for(self, start: int, end: int) -> int:
        """Pages held in sliding layers while the rows from `start` to `end` - 1 run."""
        return self.pages_for(end) - self.first_seen_page(start)

    def sliding_peak(self, tokens: int, media: Sequence[MediaSpan]) -> int:
        """The most pages that a sequence must hold at once in sliding layers, read in the smallest parts."""
        usual = min(self.pages_for(tokens), self.window_pages + 1)
        return max([usual, *(self.sliding_pages_for(span.start, span.end) for span in media if span.whole)])


class PrefixHashes:
    """Hashes of a sequence's whole pages, each of everything from the beginning to the page's end.

    Token ids count, and the content of media whose soft tokens lie in the page.
    """

    def __init__(self, page_tokens: int, media: Sequence[MediaSpan], adapter: bytes) -> None:
        self._page_tokens = page_tokens
        self._media = media
        self._next_span = 0  # the first one that does not end before the pages to come
        self._parent = blake2b(adapter, digest_size=16).digest()
        self.of_pages: list[bytes] = []

    def extend(self, ids: Sequence[int]) -> None:
        """Takes in the whole pages of `ids` that it has not seen; earlier ids are as before."""
        for index in range(len(self.of_pages), len(ids) // self._page_tokens):
            start = index * self._page_tokens
            page = array("I", ids[start : start + self._page_tokens]).tobytes()
            content = self._parent + page + self._digests(start, start + self._page_tokens)
            self._parent = blake2b(content, digest_size=16).digest()
            self.of_pages.append(self._parent)

    def _digests(self, start: int, end: int) -> bytes:
        """Content and place of the media that lie between two positions at least in part."""
        media = self._media
        while self._next_span < len(media) and media[self._next_span].end <= start:
            self._next_span += 1
        found = b""
        for span in media[self._next_span :]:
            if span.start >= end:
                break
            found += struct.pack("q", span.start - start) + span.digest
        return found


class Pool:
    """Pages of one kind of layer.  A page is used by sequences, kept for later ones, both, or free."""

    def __init__(self, num_pages: int) -> None:
        self.num_pages = num_pages
        self.users = [0] * num_pages  # sequences whose table holds the page
        self.kept = [0] * num_pages  # how often it is kept to be found again
        self.free = [page for page in range(num_pages - 1, -1, -1) if page != SCRATCH]
        self._in_use = 0

    @property
    def available(self) -> int:
        """Pages that no sequence uses: those that can be taken, once what is kept in them is given up."""
        return self.num_pages - 1 - self._in_use

    def take(self) -> int:
        """A free page, for one sequence."""
        page = self.free.pop()
        self.use(page)
        return page

    def use(self, page: int) -> None:
        """One sequence more holds the page."""
        self._in_use += self.users[page] == 0
        self.users[page] += 1

    def leave(self, page: int) -> None:
        """One sequence less holds the page."""
        self.users[page] -= 1
        self._in_use -= self.users[page] == 0
        self._free_if_unheld(page)

    def keep(self, page: int) -> None:
        """The page is kept to be found again, once more."""
        self.kept[page] += 1

    def forget(self, page: int) -> None:
        """The page is kept once less."""
        self.kept[page] -= 1
        self._free_if_unheld(page)

    def _free_if_unheld(self, page: int) -> None:
        if self.users[page] == 0 and self.kept[page] == 0:
            self.free.append(page)


@dataclass(slots=True)
class Table:
    """The pages of one sequence.

    full: of positions 0, P, 2·P, …, with P tokens a page; the first `num_found` were written by others.
    sliding: likewise, but from page index `first_sliding` on.
    slots: positions below it have their slots in both.  changes: how often pages came or went.
    """

    full: list[int] = field(default_factory=list)
    num_found: int = 0
    sliding: list[int] = field(default_factory=list)
    first_sliding: int = 0
    slots: int = 0
    changes: int = 0


@dataclass(frozen=True)
class Hit:
    """A beginning that was computed before.

    tokens: how many need not be computed again.
    full: pages of full-attention layers; they may reach farther than `tokens`, where no window was kept.
    window: sliding pages of the window before `tokens`; their key, to tell that they were used.
    """

    tokens: int
    full: tuple[int, ...]
    window: tuple[int, ...]
    key: bytes | None


class Pages:
    """Both pools, and what can be found in them.

    What is kept is given up least recently used first, and only when a sequence needs the page: of full
    layers page by page, children before parents; of sliding layers a window at a time.
    """

    def __init__(self, layout: PageLayout) -> None:
        self.layout = layout
        self.full = Pool(layout.full_pages)
        self.sliding = Pool(layout.sliding_pages)
        self._found: dict[bytes, int] = {}  # prefix hash -> full page
        self._hash_of: dict[int, bytes] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()  # kept full pages without a user, oldest first
        self._windows: OrderedDict[bytes, tuple[int, ...]] = OrderedDict()  # oldest first

    def find(self, hashes: Sequence[bytes], num_tokens: int, media: tuple[MediaSpan, ...]) -> Hit:
        """What is known of the beginning of a sequence of `num_tokens`; at least its last token is not.

        hashes: of its whole pages.
        """
        most = (num_tokens - 1) // self.layout.page_tokens
        full: list[int] = []
        for key in hashes[:most]:
            if (page := self._found.get(key)) is None:
                break
            full.append(page)
        for count in range(len(full), 0, -1):
            tokens = count * self.layout.page_tokens
            window = self._windows.get(hashes[count - 1])
            if window is not None and cut_back(tokens, media, self.layout.page_tokens) == tokens:
                return Hit(tokens, tuple(full), window, hashes[count - 1])
        return Hit(0, tuple(full), (), None)

    def num_idle(self, pages: Sequence[int]) -> int:
        """How many of these full pages no sequence uses."""
        return sum(page in self._idle for page in pages)

    def open(self, hit: Hit) -> Table:
        """The table of a sequence that goes on from there."""
        for page in hit.full:
            self._idle.pop(page, None)
            self.full.use(page)
        for page in hit.window:
            self.sliding.use(page)
        if hit.key is not None:
            self._windows.move_to_end(hit.key)
        first = hit.tokens // self.layout.page_tokens - len(hit.window)
        table = Table(list(hit.full), len(hit.full), list(hit.window), first)
        self._count(table)
        return table

    def reach(self, table: Table) -> int:
        """Up to which position the table could grow now."""
        full = len(table.full) + self.full.available
        sliding = table.first_sliding + len(table.sliding) + self.sliding.available
        return min(full, sliding) * self.layout.page_tokens

    def grow(self, table: Table, end: int) -> None:
        """Gives the table slots for all positions below `end`, which is within its reach."""
        count = self.layout.pages_for(end)
        while len(table.full) < count:
            table.full.append(self._take_full())
        while table.first_sliding + len(table.sliding) < count:
            table.sliding.append(self._take_sliding())
        self._count(table)

    def publish(self, table: Table, hashes: Sequence[bytes], start: int, end: int) -> None:
        """Makes findable the full-attention pages that were filled while `start` became `end` tokens."""
        size = self.layout.page_tokens
        for index in range(start // size, end // size):
            page, key = table.full[index], hashes[index]
            if key not in self._found:  # else another sequence was as fast: its page is the one to be found
                self._found[key] = page
                self._hash_of[page] = key
                self.full.keep(page)

    def keep_window(self, table: Table, hashes: Sequence[bytes], edge: int) -> None:
        """Keeps the sliding pages before `edge`, so that a sequence with the same beginning can go on there.

        edge: the edge of a page.  Nothing is kept where the table has left pages of that window already.
        """
        count = edge // self.layout.page_tokens
        first = self.layout.first_seen_page(edge) - table.first_sliding
        if count == 0 or first < 0:
            return
        key = hashes[count - 1]
        if key not in self._windows and key in self._found:
            self._windows[key] = tuple(table.sliding[first : count - table.first_sliding])
            for page in self._windows[key]:
                self.sliding.keep(page)
        if key in self._windows:
            self._windows.move_to_end(key)

    def slide(self, table: Table, position: int) -> None:
        """Leaves the sliding pages that no row from `position` on sees."""
        first = self.layout.first_seen_page(position)
        num_passed = max(0, first - table.first_sliding)
        for page in table.sliding[:num_passed]:
            self.sliding.leave(page)
        del table.sliding[:num_passed]
        table.first_sliding += num_passed
        self._count(table)

    def close(self, table: Table) -> None:
        """Leaves all pages; what is kept of them stays findable."""
        for page in reversed(table.full):  # children first, to be given up before their parents
            self.full.leave(page)
            if self.full.users[page] == 0 and page in self._hash_of:
                self._idle[page] = None
        for page in table.sliding:
            self.sliding.leave(page)
        table.full, table.sliding = [], []
        self._count(table)

    def _count(self, table: Table) -> None:
        """Brings up to date what the table knows of its pages, which have changed."""
        num_pages = min(len(table.full), table.first_sliding + len(table.sliding))
        table.slots = num_pages * self.layout.page_tokens
        table.changes += 1

    def _take_full(self) -> int:
        if not self.full.free:
            page, _ = self._idle.popitem(last=False)
            key = self._hash_of.pop(page)
            del self._found[key]
            self.full.forget(page)
            if key in self._windows:  # nobody can come to it any more
                self._forget_window(key)
        return self.full.take()

    def _take_sliding(self) -> int:
        users = self.sliding.users
        while not self.sliding.free:  # windows overlap: a page may become free with the second one only
            unused = (key for key, window in self._windows.items() if any(not users[page] for page in window))
            self._forget_window(next(unused))
        return self.sliding.take()

    def _forget_window(self, key: bytes) -> None:
        for page in self._windows.pop(key):
            self.sliding.forget(page)
