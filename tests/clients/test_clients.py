"""Clients that quarrel over versions, each group in a virtual environment of its own, on `gemcut serve nano`.

GEMCUT_CLIENTS names the folder of these environments; what is missing there is made, which takes minutes.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.programs import started

GROUPS = {
    "agents": "langchain-openai llama-index-llms-openai-like instructor pydantic-ai-slim[openai]",
    "litellm": "litellm",
    "crewai": "crewai",
    "schemathesis": "schemathesis",
}
HERE = Path(__file__).parent


@pytest.mark.timeout(3000)
@pytest.mark.usefixtures("nano")
@pytest.mark.parametrize("group", GROUPS)
def test_clients_work_unchanged(group: str) -> None:
    folder = os.environ.get("GEMCUT_CLIENTS")
    if folder is None:
        pytest.skip("needs GEMCUT_CLIENTS, a folder for the virtual environments of clients")
    python = Path(folder).resolve() / group / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *GROUPS[group].split()], check=True)
    with started("nano") as program:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
            "OTEL_SDK_DISABLED": "true"
        }
        done = subprocess.run(
            [python, HERE / f"{group}_client.py", program.url],
            capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip
        faults = [line for line in program.lines if line["event"] == "fault"]
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert faults == []
