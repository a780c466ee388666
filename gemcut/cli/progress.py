"""A bar on stderr for work that is counted in bytes."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

Made = TypeVar("Made")


def counted(made: Iterator[Made], total: int, *, of: Callable[[Made], int]) -> Iterator[Made]:
    """The same, with a bar that says how many of the total bytes are done; no bar where it is no terminal.

    of: the bytes of one.
    """
    console = Console(stderr=True)
    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)
        for item in made:
            yield item
            bar.advance(task, of(item))
