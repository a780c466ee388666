"""The page tables of running sequences as one array, of which a step changes little."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gemcut.engine.progress import PageRows, Progress


@dataclass(slots=True)
class _Line:
    """A line of the array: where it is, and of what list of pages it holds how many, from which one on."""

    index: int
    pages: Sequence[int]
    count: int
    first_page: int


@dataclass(frozen=True)
class Lines:
    """Where the tables of some sequences are, those of a step.

    index: (B,) lines of the array.  first_page: (B,) which page of its sequence each begins with.
    known: (B,) as in `PageRows`.  num_pages: of the longest.
    """

    index: NDArray[np.int64]
    first_page: NDArray[np.int64]
    known: NDArray[np.int64]
    num_pages: int


class PageTables:
    """Tables of one kind of layer, a line for each sequence.  pages: (lines, most pages) int32."""

    def __init__(self) -> None:
        self.pages = np.zeros((8, 64), dtype=np.int32)
        self._lines: dict[Progress, _Line] = {}
        self._free = list(range(len(self.pages)))

    def lines(self, sequences: Sequence[Progress], places: Sequence[PageRows]) -> Lines:
        """The lines of running sequences, whose pages are now these."""
        index, first_page, known, most = [], [], [], 0
        for progress, place in zip(sequences, places, strict=True):
            line = self._lines.get(progress)
            if line is None:
                line = self._lines[progress] = _Line(self._free_line(), (), 0, 0)
            there, pages, first = place
            count = len(pages)
            if line.count != count or line.first_page != first or line.pages is not pages:
                self._write(line, place)
            index.append(line.index)
            first_page.append(first)
            known.append(there)
            most = max(most, count)
        return Lines(np.array(index), np.array(first_page), np.array(known), most)

    def _write(self, line: _Line, place: PageRows) -> None:
        """Pages come at the end and leave at the front: a longer list with the same front has grown."""
        grown = line.pages is place.pages and line.first_page == place.first_page
        kept = line.count if grown and line.count < len(place.pages) else 0
        line.pages, line.count, line.first_page = place.pages, len(place.pages), place.first_page
        if line.count > self.pages.shape[1]:
            self._reshape(len(self.pages), 2 * line.count)
        self.pages[line.index, kept : line.count] = place.pages[kept:]

    def _free_line(self) -> int:
        """A line that no running sequence has."""
        if not self._free:
            for progress in [progress for progress in self._lines if progress.state != "running"]:
                self._free.append(self._lines.pop(progress).index)
        if not self._free:
            held = len(self.pages)
            self._reshape(2 * held, self.pages.shape[1])
            self._free += range(held, 2 * held)
        return self._free.pop()

    def _reshape(self, lines: int, pages: int) -> None:
        before = self.pages
        self.pages = np.zeros((lines, pages), dtype=np.int32)
        self.pages[: len(before), : before.shape[1]] = before
