"""The page tables of running sequences as arrays, of which a step changes little."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gemcut.config import AttentionKind
from gemcut.engine.pages import Table
from gemcut.engine.progress import Progress

KINDS: tuple[AttentionKind, ...] = ("full_attention", "sliding_attention")
NUMBERS = np.arange(len(KINDS))[:, None]  # of KINDS, to index with
LINES, PAGES = 8, 64  # of the arrays at first


@dataclass(slots=True)
class _Line:
    """A line of the arrays, and the table that it holds as it was after so many changes."""

    index: int
    table: Table | None = None
    changes: int = 0


class PageTables:
    """Tables of both kinds of layer, a line for each sequence.  The first axis is that of KINDS.

    pages: (2, lines, most pages) int32.
    first: (2, lines), which page of its sequence each begins with.  count: (2, lines), pages of each.
    num_found: (lines,), pages of full-attention layers that others have written.
    """

    def __init__(self) -> None:
        self.pages = np.zeros((len(KINDS), LINES, PAGES), dtype=np.int32)
        self.first = np.zeros((len(KINDS), LINES), dtype=np.int64)
        self.count = np.zeros((len(KINDS), LINES), dtype=np.int64)
        self.num_found = np.zeros(LINES, dtype=np.int64)
        self._lines: dict[Progress, _Line] = {}
        self._free = list(range(LINES))
        self._sequences: list[Progress] = []  # of the call before, their lines, and the numbers of those
        self._held: list[_Line] = []
        self._index = np.zeros(0, dtype=np.int64)

    def lines(self, sequences: list[Progress]) -> NDArray[np.int64]:
        """The lines (B,) of running sequences, with their pages as these are now."""
        if sequences != self._sequences:
            self._held = [self._lines.get(progress) or self._new_line(progress) for progress in sequences]
            self._index = np.array([line.index for line in self._held], dtype=np.int64)
            self._sequences = sequences
        for progress, line in zip(sequences, self._held, strict=True):
            table = progress.table
            if table.changes != line.changes or table is not line.table:
                self._write(line, table)
        return self._index

    def _write(self, line: _Line, table: Table) -> None:
        """Pages come at the end and leave at the front: a list with the same front has grown."""
        at, same = line.index, table is line.table
        for kind, pages, first in ((0, table.full, 0), (1, table.sliding, table.first_sliding)):
            if len(pages) > self.pages.shape[2]:
                self._reshape(self.pages.shape[1], 2 * len(pages))
            kept = int(self.count[kind, at]) if same and self.first[kind, at] == first else 0
            self.pages[kind, at, kept : len(pages)] = pages[kept:]
            self.first[kind, at], self.count[kind, at] = first, len(pages)
        self.num_found[at] = table.num_found
        line.table, line.changes = table, table.changes

    def _new_line(self, progress: Progress) -> _Line:
        """A line that no running sequence has."""
        if not self._free:
            for ended in [progress for progress in self._lines if progress.state != "running"]:
                self._free.append(self._lines.pop(ended).index)
        if not self._free:
            held = len(self.num_found)
            self._reshape(2 * held, self.pages.shape[2])
            self._free += range(held, 2 * held)
        self._lines[progress] = line = _Line(self._free.pop())
        return line

    def _reshape(self, lines: int, pages: int) -> None:
        """Makes room for so many."""
        more = lines - len(self.num_found)
        self.pages = np.pad(self.pages, ((0, 0), (0, more), (0, pages - self.pages.shape[2])))
        self.first, self.count = (
            np.pad(numbers, ((0, 0), (0, more))) for numbers in (self.first, self.count)
        )
        self.num_found = np.pad(self.num_found, (0, more))
