"""The page tables of running sequences as arrays, of which a step changes little."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gemcut.config import AttentionKind
from gemcut.engine.pages import Table
from gemcut.engine.progress import Progress

LINES, PAGES = 8, 64  # of an array at first


class KindTables:
    """Tables of one kind of layer, a line each.

    pages: (lines, most pages) int32.  first: (lines,), which page of its sequence each begins with.
    count: (lines,), pages of each.
    """

    def __init__(self) -> None:
        self.pages = np.zeros((LINES, PAGES), dtype=np.int32)
        self.first = np.zeros(LINES, dtype=np.int64)
        self.count = np.zeros(LINES, dtype=np.int64)

    def write(self, line: int, pages: Sequence[int], first: int, anew: bool) -> None:
        """Pages come at the end and leave at the front: a list with the same front has grown.

        anew: the line had another table.
        """
        kept = 0 if anew or self.first[line] != first else int(self.count[line])
        if len(pages) > self.pages.shape[1]:
            self.reshape(len(self.pages), 2 * len(pages))
        self.first[line], self.count[line] = first, len(pages)
        self.pages[line, kept : len(pages)] = pages[kept:]

    def reshape(self, lines: int, pages: int) -> None:
        """Makes room for so many."""
        before = self.pages
        self.pages = np.zeros((lines, pages), dtype=np.int32)
        self.pages[: len(before), : before.shape[1]] = before
        self.first, self.count = np.resize(self.first, lines), np.resize(self.count, lines)


@dataclass(slots=True)
class _Line:
    """A line of the arrays, and the table that it holds as it was after so many changes."""

    index: int
    table: Table | None = None
    changes: int = 0


class PageTables:
    """Tables of both kinds of layer, a line for each sequence.

    num_found: (lines,), pages of full-attention layers that others have written.
    """

    def __init__(self) -> None:
        self.kinds: dict[AttentionKind, KindTables] = {
            "full_attention": KindTables(),
            "sliding_attention": KindTables(),
        }
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
        anew = table is not line.table
        self.kinds["full_attention"].write(line.index, table.full, 0, anew)
        self.kinds["sliding_attention"].write(line.index, table.sliding, table.first_sliding, anew)
        self.num_found[line.index] = table.num_found
        line.table, line.changes = table, table.changes

    def _new_line(self, progress: Progress) -> _Line:
        """A line that no running sequence has."""
        if not self._free:
            for ended in [progress for progress in self._lines if progress.state != "running"]:
                self._free.append(self._lines.pop(ended).index)
        if not self._free:
            held = len(self.num_found)
            for kind in self.kinds.values():
                kind.reshape(2 * held, kind.pages.shape[1])
            self.num_found = np.resize(self.num_found, 2 * held)
            self._free += range(held, 2 * held)
        self._lines[progress] = line = _Line(self._free.pop())
        return line
