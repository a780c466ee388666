"""Clients that others wrote, unchanged, on `gemcut serve nano`.

They want other versions than the tests do and than each other, so they live in virtual environments of their
own, which `make clients` makes of agents.txt and crewai.txt; GEMCUT_CLIENTS names the folder of these.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.programs import Program, started

ENVIRONMENTS = {"agents": "agents", "litellm": "agents", "schemathesis": "agents", "crewai": "crewai"}
HERE = Path(__file__).parent
QUIET = {"OTEL_SDK_DISABLED": "true"}  # nothing is sent to anybody


@pytest.fixture(scope="module")
def folder() -> Path:
    """Where the environments are."""
    named = os.environ.get("GEMCUT_CLIENTS")
    if named is None:
        pytest.skip("needs virtual environments of clients: make clients")
    return Path(named).resolve()


@pytest.fixture(scope="module")
def server(nano: Path, folder: Path) -> Iterator[Program]:
    with started("nano", OMP_NUM_THREADS="1") as program:
        yield program


@pytest.mark.timeout(600)
@pytest.mark.parametrize("client", ENVIRONMENTS)
def test_clients_work_unchanged(client: str, server: Program, folder: Path, tmp_path: Path) -> None:
    before = len(server.lines)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | QUIET
    done = subprocess.run(
        [folder / ENVIRONMENTS[client] / "bin/python", HERE / f"{client}_client.py", server.url],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert [line for line in server.lines[before:] if line["event"] == "fault"] == []
