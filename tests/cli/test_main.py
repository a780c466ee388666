import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gemcut.cli.main import build_app

COMMANDS = ("run", "serve", "list", "show", "fit", "bench", "pull", "quantize", "export")


def test_the_version_is_the_packages() -> None:
    result = CliRunner().invoke(build_app(), ["--version"])
    assert result.stdout == f"gemcut {version('gemcut')}\n"


def test_alone_it_tells_its_commands() -> None:
    shown = CliRunner().invoke(build_app(), []).output
    assert all(f"  {command} " in shown for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = CliRunner().invoke(build_app(), [command, "-h"])
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")


@pytest.mark.parametrize("arguments", [["sing"], ["run", "--sing"], ["show"]])
def test_mistakes_of_usage_exit_with_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(build_app(), arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr


def test_python_m_gemcut_is_gemcut() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gemcut", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"gemcut {version('gemcut')}\n"


@pytest.mark.usefixtures("nano")
@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["serve", "--help"],
        ["bench", "--help"],
        ["list"],
        ["show", "e2b"],
        ["fit", "--for", "4090"],
    ],
)
def test_what_needs_no_model_does_not_wait_for_torch(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['gemcut', *{arguments!r}]\n"
        "from gemcut.cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n    assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_leaves_ends_the_program_quietly(tmp_path: Path) -> None:
    """`gemcut show e2b | head -1` once printed BrokenPipeError."""
    code = "import sys\nsys.argv = ['gemcut', 'show', 'e2b']\nfrom gemcut.cli.main import main\nmain()\n"
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert program.stdout is not None
    assert program.stderr is not None
    program.stdout.close()
    assert program.stderr.read() == b""
    program.stderr.close()
    assert program.wait() == 1
