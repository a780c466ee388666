"""`gemcut run --batch` on a tiny model that answers with letters."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gemcut.api import Gemma
from gemcut.cli.main import build_app
from tests.tiny_model import write_tiny_model

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_model(folder)
    return folder


@pytest.fixture
def run(tmp_path: Path, model: Path) -> Run:
    """`gemcut run --batch` over these lines, the answers in out.jsonl."""

    def invoke(
        *lines: object, extra: tuple[str, ...] = ("--temperature", "0", "--max-tokens", "6")
    ) -> Result:
        rows = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        (tmp_path / "in.jsonl").write_text("\n".join(rows) + "\n")
        files = ["--batch", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out.jsonl")]
        return CliRunner().invoke(build_app(), ["run", str(model), *files, "--device", "cpu", *extra])

    return invoke


def answers(folder: Path) -> dict[str, Any]:
    rows = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row for row in rows}


def test_each_line_gets_the_answer_that_it_gets_alone(run: Run, model: Path, tmp_path: Path) -> None:
    conversation = [{"role": "user", "content": "Good day"}]
    result = run({"prompt": "Hi"}, "", {"id": "b", "messages": conversation, "max_tokens": 3})
    assert (result.exit_code, result.stdout) == (0, "")
    assert "2 answered in" in result.stderr
    gemma = Gemma.load(str(model), device="cpu")
    made = answers(tmp_path)
    assert set(made) == {"1", "b"}
    assert made["1"]["text"] == gemma.reply("Hi").text[: len(made["1"]["text"])]
    assert made["b"]["text"] == gemma.reply(conversation).text[: len(made["b"]["text"])]
    assert [made[name]["usage"]["completion_tokens"] for name in ("1", "b")] == [6, 3]
    assert made["b"]["finish_reason"] == "length"


def test_a_run_that_was_killed_goes_on_where_it_was(run: Run, tmp_path: Path) -> None:
    whole = '{"id": "1", "text": "kept as it is"}\n'
    (tmp_path / "out.jsonl").write_text(whole + '{"id": "2", "te')  # killed while it wrote
    result = run({"prompt": "Hi"}, {"prompt": "Hi"}, {"prompt": "Hello"})
    assert "1 of 3 are answered" in result.stderr
    assert answers(tmp_path)["1"]["text"] == "kept as it is"
    assert set(answers(tmp_path)) == {"1", "2", "3"}
    assert run({"prompt": "Hi"}, {"prompt": "Hi"}, {"prompt": "Hello"}).exit_code == 0
    assert set(answers(tmp_path)) == {"1", "2", "3"}


def test_one_line_that_fails_is_told_and_the_others_are_answered(run: Run, tmp_path: Path) -> None:
    result = run({"prompt": "word " * 600}, {"prompt": "Hi"})
    assert result.exit_code == 1
    assert "1 failed" in result.stderr
    assert "the prompt has" in answers(tmp_path)["1"]["error"]
    assert answers(tmp_path)["2"]["usage"]["completion_tokens"] == 6


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("hello", "line 2 of .* is not JSON"),
        ("[1]", "it is no JSON object"),
        ({"prompt": "Hi", "temprature": 1}, "'temprature' is not known; a line may have id, prompt"),
        ({"prompt": "Hi", "messages": []}, "either prompt or messages"),
        ({"id": "x"}, "either prompt or messages"),
        ({"prompt": "Hi", "temperature": -1}, "temperature"),
        ({"prompt": "Hi", "think": "yes"}, "think is 'yes'"),
        ({"prompt": "Hi", "id": "1"}, "has the id '1', as a line before it has"),
        ({"prompt": "Hi", "tools": 3}, "tools"),
        ({"prompt": "Hi", "schema": {"type": "strnig"}}, "strnig"),
    ],
)
def test_a_line_that_is_wrong_is_named_before_any_is_answered(
    run: Run, tmp_path: Path, line: object, message: str
) -> None:
    result = run({"prompt": "Hi"}, line)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert re.search(message, result.stderr), result.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_a_file_that_is_something_else_is_not_written_to(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("my diary\n")
    result = run({"prompt": "Hi"})
    assert (result.exit_code, "is no answer of an earlier run" in result.stderr) == (2, True)
    (tmp_path / "out.jsonl").write_text('{"id": "of another file"}\n')
    assert "answers 'of another file', which is not asked here" in run({"prompt": "Hi"}).stderr


def test_files_are_read_before_the_model_is_opened(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("hello\n")
    files = ["--batch", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out.jsonl")]
    result = CliRunner().invoke(build_app(), ["run", str(tmp_path / "no_model"), *files])
    assert (result.exit_code, "line 1 of" in result.stderr) == (2, True), result.stderr


def test_half_of_it_or_too_much_is_refused(run: Run, tmp_path: Path) -> None:
    result = run({"prompt": "Hi"}, extra=("--json",))
    assert (result.exit_code, "leave out --json" in result.stderr) == (2, True)
    alone = CliRunner().invoke(build_app(), ["run", "--out", str(tmp_path / "out.jsonl"), "Hi"])
    assert (alone.exit_code, "--batch FILE and --out FILE go together" in alone.stderr) == (2, True)
