"""Tables without lines, for terminals of 80 columns."""

from rich.table import Table
from rich.text import Text


def plain_table(*headers: str, left: tuple[int, ...] = (0, 1)) -> Table:
    """An empty table.  left: the columns of words; numbers stand to the right."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for index, header in enumerate(headers):
        table.add_column(header, justify="left" if index in left else "right", no_wrap=True)
    return table


def dim(text: str) -> Text:
    """What explains a table."""
    return Text(text, style="dim")
