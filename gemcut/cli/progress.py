"""A bar on stderr for work that is counted in bytes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

Made = TypeVar("Made")


@contextmanager
def counted(made: Iterator[Made], total: int, *, of: Callable[[Made], int]) -> Iterator[Iterator[Made]]:
    """Gives the same, with a bar that says how many of the total bytes are done, on a terminal.

    of: the bytes of one.  The bar leaves with the block, whatever ends it: an error has a line of its own.
    """
    console = Console(stderr=True)
    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)

        def each() -> Iterator[Made]:
            for item in made:
                yield item
                bar.advance(task, of(item))

        yield each()
