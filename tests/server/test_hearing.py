"""Windows of a recording, several under way: one text, whichever of them ends first."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from gemcut.errors import BadMedia
from gemcut.media.windows import Window
from gemcut.reply import Delta, Finish, Timing, Usage
from gemcut.server.hearing import MOST_AT_ONCE, LiveTranscript, Segment

TEXTS = ["one two three", "two three four five", "four five six", "seven", "", "eight nine"]


class Heard:
    """A window's reply, whose pieces come when the test lets them."""

    def __init__(self, text: str) -> None:
        self.media_tokens = 25
        self.closed = False
        self.pieces = [Delta("text", piece) for piece in text]
        usage = Usage(prompt_tokens=30, completion_tokens=len(text), cached_tokens=1)
        self.pieces.append(Delta("finish", finish=Finish("stop", usage, Timing(0.5, 10))))
        self.waits = True

    def take(self) -> list[Delta]:
        taken, self.pieces = ([], self.pieces) if self.waits else (self.pieces, [])
        return taken

    def close(self) -> None:
        self.closed = True


class Recording:
    """A transcript of TEXTS under way, and what was started of it."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.heard: list[Heard] = []
        self.rings = 0
        self._fails_at = fails_at
        self.workers = ThreadPoolExecutor(1)
        self.live = LiveTranscript(self._windows(), self._hear, self.workers, self._ring)

    def _windows(self) -> Iterator[Window]:
        for number in range(len(TEXTS)):
            if number == self._fails_at:
                raise BadMedia("the file is damaged")
            yield Window(np.zeros(1, np.float32), 10.0 * number, 10.0 * number + 10, number == len(TEXTS) - 1)

    def _hear(self, window: Window) -> Any:
        self.heard.append(Heard(TEXTS[len(self.heard)]))
        return self.heard[-1]

    def _ring(self) -> None:
        self.rings += 1

    def until(self, condition: Callable[[], bool]) -> str:
        """The text that comes until the condition holds."""
        text, end = "", time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end, "it did not come to that"
            text += "".join(delta.text for delta in self.live.take())
            time.sleep(0.001)
        return text


@pytest.fixture
def recording() -> Iterator[Recording]:
    made = Recording()
    with made.workers:
        yield made


def test_so_many_windows_are_heard_at_once_and_the_text_is_one(recording: Recording) -> None:
    assert recording.until(lambda: len(recording.heard) == MOST_AT_ONCE) == ""
    time.sleep(0.05)
    assert recording.live.take() == []
    assert len(recording.heard) == MOST_AT_ONCE
    for number in (2, 1):  # later ones are done first
        recording.heard[number].waits = False
    assert recording.until(lambda: len(recording.heard) == len(TEXTS)) == ""
    for heard in recording.heard:
        heard.waits = False
    said = recording.until(lambda: recording.live.ended)
    assert said == "one two three four five six seven eight nine"
    assert recording.live.segments[0] == Segment(0, 10, "one two")
    assert recording.live.segments[4] == Segment(40, 50, "")
    assert recording.live.duration_s == 60
    assert recording.live.audio_tokens == 25 * len(TEXTS)
    assert recording.rings >= len(TEXTS) - 1


def test_its_end_sums_up_all_windows(recording: Recording) -> None:
    finish = None
    while not recording.live.ended:
        for heard in recording.heard:
            heard.waits = False
        for delta in recording.live.take():
            finish = delta.finish or finish
    assert finish is not None
    assert finish.usage == Usage(30 * len(TEXTS), sum(map(len, TEXTS)), len(TEXTS))
    assert (finish.reason, finish.timing.first_token_s) == ("stop", 0.5)
    assert recording.live.take() == []


def test_a_fault_in_a_later_window_is_told() -> None:
    recording = Recording(fails_at=2)
    with recording.workers, pytest.raises(BadMedia, match="damaged"):
        recording.until(lambda: False)


def test_who_closes_it_closes_what_is_under_way_and_what_is_being_started(recording: Recording) -> None:
    recording.until(lambda: len(recording.heard) == 2)
    recording.live.close()
    recording.workers.shutdown()
    assert recording.live.ended
    assert all(heard.closed for heard in recording.heard)
