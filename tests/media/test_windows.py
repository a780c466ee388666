"""Windows over a recording: nothing is left out, borders lie in pauses, no more is decoded than is needed."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gemcut.errors import BadMedia
from gemcut.media.audio import MOST_SAMPLES, RATE_HZ, sound_pieces
from gemcut.media.windows import MARGIN_S, OVERLAP_S, Window, windows
from tests.media.makers import sine, sound_file


def ramp(seconds: float) -> NDArray[np.float32]:
    """Sound in which every sample tells its own place."""
    return np.arange(round(seconds * RATE_HZ), dtype=np.float32)


def places(window: Window) -> tuple[float, float]:
    """The seconds of its first sample and of the one behind its last."""
    return window.samples[0] / RATE_HZ, (window.samples[-1] + 1) / RATE_HZ


@settings(max_examples=20, deadline=None)
@given(st.floats(0.02, 200), st.integers(1_000, 2_000_000))
def test_windows_cover_all_of_it_and_overlap(seconds: float, size: int) -> None:
    whole = ramp(seconds)
    found = list(windows((whole[at : at + size] for at in range(0, len(whole), size)), "x"))
    assert [window.is_last for window in found] == [False] * (len(found) - 1) + [True]
    assert (found[0].start_s, found[-1].end_s) == (0, len(whole) / RATE_HZ)
    for window in found:
        assert len(window.samples) <= MOST_SAMPLES
        assert np.all(np.diff(window.samples) == 1)
    for before, after in zip(found, found[1:], strict=False):
        assert before.end_s == after.start_s
        assert places(before)[1] == pytest.approx(before.end_s + MARGIN_S)
        assert places(after)[0] == pytest.approx(before.end_s - MARGIN_S)
        assert places(before)[1] - places(after)[0] == pytest.approx(OVERLAP_S)
        assert before.end_s - before.start_s >= 20 - MARGIN_S


def test_30_s_are_one_window() -> None:
    assert len(list(windows([ramp(30)], "x"))) == 1
    assert len(list(windows([ramp(30), np.zeros(1, np.float32)], "x"))) == 2


def test_the_border_lies_in_a_pause() -> None:
    said = sine(40)
    said[24 * RATE_HZ : 24 * RATE_HZ + RATE_HZ // 2] *= 0.01
    first, _ = windows([said], "x")
    assert 24 <= first.end_s <= 24.5


def test_without_a_pause_windows_are_as_long_as_they_may() -> None:
    first, *_ = windows([np.zeros(40 * RATE_HZ, np.float32)], "x")
    assert first.end_s == pytest.approx(30 - MARGIN_S, abs=0.2)


def test_too_short_is_refused() -> None:
    with pytest.raises(BadMedia, match="x has 160 samples"):
        list(windows([ramp(0.01)], "x"))


def test_of_a_long_file_no_more_is_decoded_than_the_next_window_needs() -> None:
    decoded = 0

    def counted() -> Iterator[NDArray[np.float32]]:
        nonlocal decoded
        for piece in sound_pieces(sound_file(np.zeros(600 * 1000, np.float32), 1000), "x"):
            decoded += len(piece)
            yield piece

    first = next(windows(counted(), "x"))
    assert not first.is_last
    assert decoded < MOST_SAMPLES + 2 * RATE_HZ
