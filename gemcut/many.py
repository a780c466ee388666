"""Many questions at once: what is asked, and in what order it is taken up."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from threading import Event
from typing import TypedDict, TypeVar

from rich.console import Console
from rich.progress import track

from gemcut.engine.sampling_params import SamplingParams
from gemcut.prompt.json_schema import Schema
from gemcut.prompt.media import MediaOptions
from gemcut.prompt.messages import Conversation
from gemcut.prompt.tool_grammar import CallRules
from gemcut.prompt.tools import Tools
from gemcut.reply import Delta

Asked = TypeVar("Asked")
Made = TypeVar("Made")


class AnswerOptions(TypedDict, total=False):
    """How a reply is made, whatever tools there are."""

    think: bool
    media: MediaOptions | None
    schema: Schema | None
    regex: str | None
    grammar: str | None
    constrain_tools: bool
    calls: CallRules | None
    sampling: SamplingParams | None


class ReplyOptions(AnswerOptions, total=False):
    """What `Gemma.reply` takes beside the messages and their media."""

    tools: Tools | None


@dataclass(frozen=True)
class Question:
    """One of many: a conversation, and how it is to be answered.  Raises TypeError for an unknown option."""

    messages: Conversation
    options: ReplyOptions = field(default_factory=ReplyOptions)

    def __post_init__(self) -> None:
        known = ReplyOptions.__annotations__
        if unknown := sorted(set(self.options) - set(known)):
            raise TypeError(f"{unknown[0]!r} is no option of a reply; there are {', '.join(known)}")


def in_turn(
    pool: Executor, most: int, items: Iterable[Asked], work: Callable[[Asked], Made]
) -> Iterator[tuple[int, Made]]:
    """What the work makes of each item, with its place, as it is done; at most so many are under way."""
    coming = enumerate(items)
    places: dict[Future[Made], int] = {}
    while True:
        for place, item in islice(coming, most - len(places)):
            places[pool.submit(work, item)] = place
        if not places:
            return
        for done in wait(places, return_when=FIRST_COMPLETED).done:
            yield places.pop(done), done.result()


def until(stopping: Event | None, deltas: Iterator[Delta]) -> Iterator[Delta]:
    """The pieces of a reply; raises CancelledError between two of them once it is to stop."""
    with closing(deltas):  # type: ignore[type-var]  # generators have `close`
        for delta in deltas:
            if stopping is not None and stopping.is_set():
                raise CancelledError
            yield delta


def shown(made: Iterator[Made], total: int, progress: bool) -> Iterator[Made]:
    """The same, with a bar on stderr that says how many of the total are done."""
    console = Console(stderr=True)
    visible = progress and console.is_terminal
    yield from track(made, "answering", total, console=console, disable=not visible, transient=True)
