"""`gemcut`: the commands, and how errors leave the program."""

from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gemcut.cli.bench import bench
from gemcut.cli.export import export
from gemcut.cli.fit import fit
from gemcut.cli.list_models import list_models
from gemcut.cli.pull import pull
from gemcut.cli.quantize import quantize
from gemcut.cli.run import run
from gemcut.cli.screen import Screen
from gemcut.cli.serve import serve
from gemcut.cli.show import show
from gemcut.errors import GemcutError


class Commands(TyperGroup):
    """All commands: an error of ours is one line on stderr and exit code 2, never a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """What the command returns; raises typer.Exit(2) where it failed with one of our errors."""
        try:
            return super().invoke(ctx)
        except GemcutError as error:
            Screen().error(error)
            raise typer.Exit(2) from None


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"gemcut {version('gemcut')}")
        raise typer.Exit


def gemcut(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Run the Gemma 4 models: from nano, which is in the package, to 31B."""


def build_app() -> typer.Typer:
    """The program, as Typer knows it."""
    app = typer.Typer(
        cls=Commands,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(gemcut)
    app.command()(run)
    app.command()(serve)
    app.command("list")(list_models)
    app.command()(show)
    app.command()(fit)
    app.command()(bench)
    app.command()(pull)
    app.command()(quantize)
    app.command()(export)
    return app


def main() -> None:
    """Runs the program on the command line's arguments and exits."""
    build_app()()
