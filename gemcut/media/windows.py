"""A long recording → windows that a model can hear, each overlapping the one before.

The border between two windows lies where the sound is quietest among the latest places that it may have, most
often in a pause. Both windows reach beyond it by MARGIN_S, so that a word at the border is heard whole by at
least one of them, and mostly by both.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gemcut.media.audio import MOST_SAMPLES, RATE_HZ, check_shortest

MARGIN_S = 2.0
SEARCH_S = 8.0  # in which the quietest place is looked for
QUIET_S = 0.2  # how long it is quiet there
OVERLAP_S = 2 * MARGIN_S

_MARGIN, _SEARCH, _QUIET = (round(seconds * RATE_HZ) for seconds in (MARGIN_S, SEARCH_S, QUIET_S))


@dataclass(frozen=True, eq=False)
class Window:
    """Part of a recording.

    samples: (n,) float32 at 16 kHz, n at most 30 s, with the margins beyond its borders.
    start_s, end_s: its borders in the recording; each window ends where the next one starts.
    """

    samples: NDArray[np.float32]
    start_s: float
    end_s: float
    is_last: bool


def windows(pieces: Iterable[NDArray[np.float32]], name: str) -> Iterator[Window]:
    """The windows of a recording, of which no more is read than the next one needs.

    pieces: mono samples at 16 kHz.
    Raises BadMedia, with `name` in the message, for a recording that is too short.
    """
    coming = iter(pieces)
    samples, first, border = np.zeros(0, np.float32), 0, 0  # first: the place of samples[0] in the recording
    while True:
        samples = _filled(samples, coming)
        if len(samples) <= MOST_SAMPLES:
            check_shortest(samples, name)
            yield Window(samples, border / RATE_HZ, (first + len(samples)) / RATE_HZ, is_last=True)
            return
        latest = MOST_SAMPLES - _MARGIN
        cut = latest - _SEARCH + _quietest(samples[latest - _SEARCH : latest])
        end = first + cut
        yield Window(samples[: cut + _MARGIN], border / RATE_HZ, end / RATE_HZ, is_last=False)
        samples, first, border = samples[cut - _MARGIN :], end - _MARGIN, end


def _filled(samples: NDArray[np.float32], coming: Iterator[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The samples with as many more as show that they are too long for one window, if there are so many."""
    parts, length = [samples], len(samples)
    for piece in coming if length <= MOST_SAMPLES else ():
        parts.append(piece)
        length += len(piece)
        if length > MOST_SAMPLES:
            break
    return np.concatenate(parts)


def _quietest(samples: NDArray[np.float32]) -> int:
    """The middle of the QUIET_S with the least energy; of several, the latest."""
    sums = np.cumsum(np.square(samples, dtype=np.float64))
    energies = sums[_QUIET:] - sums[:-_QUIET]
    return len(energies) - int(np.argmin(energies[::-1])) + _QUIET // 2
