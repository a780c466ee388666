"""`gemcut pull`: a model's files from the hub onto this machine."""

from gemcut.checkpoint.find import pull_checkpoint
from gemcut.cli.options import Source
from gemcut.cli.screen import Screen


def pull(source: Source) -> None:
    """Download a model, and print where its files are."""
    print(pull_checkpoint(source, progress=Screen().note))
