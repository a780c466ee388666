"""Clients that quarrel over versions, each group in a virtual environment of its own, on `gemcut serve nano`.

GEMCUT_CLIENTS names the folder of these environments (`make clients`); what is missing there is made.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.server.programs import Program, started

GROUPS = {
    "agents": (
        "langchain-openai==1.7.3",
        "llama-index-llms-openai-like==0.8.1",
        "instructor==1.17.0",
        "pydantic-ai-slim[openai]==2.31.1",
    ),
    "litellm": ("litellm==1.106.2", "mcp==2.3.0"),  # it imports mcp without declaring it
    "crewai": ("crewai==1.15.30",),
    "schemathesis": ("schemathesis==4.32.5",),
}
HERE = Path(__file__).parent


def python_of(folder: Path, group: str) -> Path:
    """The interpreter of a group's environment, which is made where it is missing."""
    home = folder / group
    done = home / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        install = [home / "bin/python", "-m", "pip", "install", "--quiet", *GROUPS[group]]
        subprocess.run(install, check=True)
        done.touch()
    return home / "bin/python"


@pytest.fixture(scope="module")
def interpreters() -> dict[str, Path]:
    named = os.environ.get("GEMCUT_CLIENTS")
    if named is None:
        pytest.skip("needs GEMCUT_CLIENTS, a folder for the virtual environments of clients")
    folder = Path(named).resolve()
    with ThreadPoolExecutor() as pool:  # mostly they wait for the network and the disk
        return dict(zip(GROUPS, pool.map(lambda group: python_of(folder, group), GROUPS), strict=True))


@pytest.fixture(scope="module")
def server(nano: Path, interpreters: dict[str, Path]) -> Iterator[Program]:
    with started("nano") as program:
        yield program


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("group", GROUPS)
def test_clients_work_unchanged(group: str, server: Program, interpreters: dict[str, Path]) -> None:
    before = len(server.lines)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [interpreters[group], HERE / f"{group}_client.py", server.url],
        capture_output=True, text=True, check=False, env=environment | {"OTEL_SDK_DISABLED": "true"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert [line for line in server.lines[before:] if line["event"] == "fault"] == []
