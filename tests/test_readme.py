"""The README and docs for users are true: code runs, what is named exists, tables are the recipe's."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gemcut.cli.main import build_app
from gemcut.server.admission import Admission
from gemcut.server.metrics import Metrics
from recipes.nano.evaluate import readme_table
from tests.parity.test_mutants import MUTANTS
from tests.parity.tiny import ODD, TINY
from tests.server.programs import started

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
SERVER = (ROOT / "docs/server.md").read_text()
BENCH = (ROOT / "docs/bench.md").read_text()


def blocks(language: str, text: str = README) -> list[str]:
    """What stands between fences; every fence is read, so that no closing one passes for an opening one."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [body for name, body in found if name == language]


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.split("\n")[2][:40])
def test_its_python_runs(code: str, nano: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def commands() -> list[str]:
    """The commands that need no network."""
    lines = [line.split("  #")[0].strip() for block in blocks("") for line in block.splitlines()]
    return [line for line in lines if "gemcut " in line and "e2b" not in line]


@pytest.mark.parametrize("command", commands())
def test_its_commands_run(command: str, nano: Path) -> None:
    program = f"{shlex.quote(sys.executable)} -m gemcut"
    done = subprocess.run(
        re.sub(r"\bgemcut (?=run|list|show|fit|bench|quantize|export)", lambda _: f"{program} ", command),
        shell=True, capture_output=True, text=True, cwd=ROOT, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_table_of_nano_is_what_its_evaluation_wrote() -> None:
    scores = json.loads((ROOT / "recipes/nano/scores.json").read_text())
    printed = README.partition("<!-- nano:")[2].partition("-->\n")[2].partition("<!-- /nano -->")[0]
    assert printed.strip() == readme_table(scores).strip()


def test_its_counts_of_configurations_and_mutants_are_right() -> None:
    numbers = {11: "eleven", 12: "twelve", 13: "thirteen"}
    assert f"on {numbers[len(TINY) + len(ODD)]} configurations" in README
    assert f"{numbers[len(MUTANTS)]} small mutations" in README


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["mcp"]]
    reasons = README.partition("## Dependencies, and why")[2]
    for name in (dependency.partition(">=")[0] for dependency in needed):
        assert re.search(rf"\b{name}\b", reasons), name


def test_the_servers_python_runs(nano: Path) -> None:
    with started("nano") as program:
        for code in blocks("python", SERVER):
            here = code.replace("http://127.0.0.1:8000", program.url)
            done = subprocess.run([sys.executable, "-c", here], capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
            assert done.stdout.strip()


def test_the_servers_options_exist() -> None:
    known = re.findall(r"--[a-z-]+", CliRunner().invoke(build_app(), ["serve", "--help"]).stdout)
    ours = SERVER
    for language in ("dockerfile", "sh"):  # options of other programs
        for block in blocks(language, SERVER):
            ours = ours.replace(block, "")
    assert set(re.findall(r"--[a-z]+[a-z-]*", ours)) <= set(known)


def test_the_options_of_bench_exist() -> None:
    known = re.findall(r"--[a-z-]+", CliRunner().invoke(build_app(), ["bench", "--help"]).stdout)
    others = {"--speculate", "--repack"}  # of serve, and of llama-bench
    assert set(re.findall(r"--[a-z]+[a-z-]*", BENCH)) - others <= set(known)


def test_the_servers_metrics_exist() -> None:
    told = Metrics(Admission(1, 1), []).text().decode()
    for name in re.findall(r"`(gemcut_\w+)`", SERVER):
        assert f"# TYPE {name} " in told, name


def test_every_file_that_it_links_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
