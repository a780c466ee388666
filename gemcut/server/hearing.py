"""A recording that is being transcribed: several of its windows at once, and one text."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass

from gemcut.live import LiveReply
from gemcut.media.windows import Window
from gemcut.reply import Delta, Finish, Timing, Usage
from gemcut.server.joining import Joining
from gemcut.server.running import Ring

MOST_AT_ONCE = 4  # windows: together they are quicker, and all of a long one would crowd others out

Hear = Callable[[Window], LiveReply]  # has the model transcribe a window; raises what is wrong with it


@dataclass(frozen=True)
class Segment:
    """What was said between two borders, in seconds; they lie in pauses, where there are any."""

    start_s: float
    end_s: float
    text: str


class LiveTranscript:
    """The text of a recording, as `running.Live` has it.

    windows: read in threads of `workers`, one after the other.  Raises what is wrong with the first.
    """

    def __init__(self, windows: Iterator[Window], hear: Hear, workers: Executor, ring: Ring) -> None:
        self.ended = False
        self.audio_tokens = 0
        self._windows = windows
        self._hear = hear
        self._workers = workers
        self._ring = ring
        self._joining = Joining()
        self._heard: list[Window] = []
        self._under_way: dict[int, LiveReply] = {}
        self._finished: dict[int, Finish] = {}
        self._next: Future[tuple[Window, LiveReply]] | None = None  # the window that is being started
        self._take_in(*self._start())

    @property
    def duration_s(self) -> float:
        """How long the recording is, as far as it was read."""
        return self._heard[-1].end_s

    @property
    def segments(self) -> list[Segment]:
        """What was said in each window."""
        return [
            Segment(window.start_s, window.end_s, text.strip())
            for window, text in zip(self._heard, self._joining.parts, strict=True)
        ]

    def take(self) -> list[Delta]:
        """The text that has become certain since the last time.  Raises what made a window fail."""
        if self.ended:
            return []
        if self._next is not None and self._next.done():
            started, self._next = self._next, None
            self._take_in(*started.result())
        text = "".join(self._certain(number, reply) for number, reply in [*self._under_way.items()])
        if self._next is None and not self._heard[-1].is_last and len(self._under_way) < MOST_AT_ONCE:
            self._next = self._workers.submit(self._start)
            self._next.add_done_callback(lambda _: self._ring())
        self.ended = self._heard[-1].is_last and not self._under_way
        return [
            *([Delta("text", text)] if text else []),
            *([Delta("finish", finish=self._finish())] if self.ended else []),
        ]

    def close(self) -> None:
        """Ends it: what is under way, and what is being started."""
        self.ended = True
        for reply in self._under_way.values():
            reply.close()
        if self._next is not None:
            self._next.add_done_callback(_close)

    def _start(self) -> tuple[Window, LiveReply]:
        """Runs in a worker's thread, since it decodes sound and sends it through the audio tower."""
        window = next(self._windows)
        return window, self._hear(window)

    def _take_in(self, window: Window, reply: LiveReply) -> None:
        self._heard.append(window)
        self._under_way[self._joining.open(window.is_last)] = reply
        self.audio_tokens += reply.media_tokens

    def _certain(self, number: int, reply: LiveReply) -> str:
        """The text that is certain with what a window has by now."""
        certain = ""
        for delta in reply.take():
            if delta.kind == "text":
                certain += self._joining.push(number, delta.text)
            elif delta.finish is not None:
                self._finished[number] = delta.finish
                del self._under_way[number]
                certain += self._joining.end(number)
        return certain

    def _finish(self) -> Finish:
        """How all windows together ended."""
        finished = [self._finished[number] for number in sorted(self._finished)]
        usages = [finish.usage for finish in finished]
        cut = any(finish.reason == "length" for finish in finished)
        rate = sum(finish.timing.tokens_per_s for finish in finished) / len(finished)
        return Finish(
            "length" if cut else "stop",
            Usage(
                prompt_tokens=sum(usage.prompt_tokens for usage in usages),
                completion_tokens=sum(usage.completion_tokens for usage in usages),
                cached_tokens=sum(usage.cached_tokens for usage in usages),
            ),
            Timing(finished[0].timing.first_token_s, rate),
        )


def _close(started: Future[tuple[Window, LiveReply]]) -> None:
    if not started.cancelled() and started.exception() is None:
        started.result()[1].close()
