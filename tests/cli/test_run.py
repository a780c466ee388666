import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gemcut.cli.main import build_app
from gemcut.cli.opening import Loading
from gemcut.engine.sampling_params import SamplingParams
from tests.cli.fake import CALL, WEATHER, CtrlC, FakeGemma, said

Run = Callable[..., Result]


@pytest.fixture
def gemma() -> FakeGemma:
    return FakeGemma(said("Hello!"))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, gemma: FakeGemma) -> list[Any]:
    """What models were opened with: the fake one is, instead of any."""
    opened: list[Any] = []

    def open_model(*how: Any) -> FakeGemma:
        opened.append(how[:-1])  # without the screen
        return gemma

    monkeypatch.setattr("gemcut.cli.opening.open_model", open_model)
    return opened


@pytest.fixture
def run(opened: list[Any]) -> Run:
    """`gemcut run` with these arguments and this standard input."""

    def invoke(*arguments: str, piped: str | bytes = "") -> Result:
        return CliRunner().invoke(build_app(), ["run", *arguments], input=piped)

    return invoke


def test_the_answer_goes_to_stdout_and_the_timings_to_stderr(run: Run) -> None:
    result = run("Hi")
    assert result.exit_code == 0
    assert result.stdout == "Hello!\n"
    assert result.stderr == "12 tokens · 85.3 tok/s · first token after 0.12 s\n"


def test_without_a_model_nano_is_asked(run: Run, opened: list[Any], gemma: FakeGemma) -> None:
    run("Hi")
    assert opened == [("nano", Loading(device=None, dtype=None, offline=False))]
    asked = gemma.asked[0]
    assert asked.messages == [{"role": "user", "content": "Hi"}]
    assert (asked.tools, asked.think, asked.sampling) == ((), False, SamplingParams())


def test_a_drafter_is_opened_with_the_model(run: Run, opened: list[Any]) -> None:
    run("e2b", "Hi", "--drafter", "e2b")
    assert opened == [("e2b", Loading(device=None, dtype=None, offline=False, drafter="e2b"))]


def test_device_dtype_and_offline_reach_the_model(run: Run, opened: list[Any]) -> None:
    run("e2b", "Hi", "--device", "cpu", "--dtype", "float32", "--offline")
    assert opened == [("e2b", Loading(device="cpu", dtype="float32", offline=True))]


def test_every_option_reaches_the_question(run: Run, gemma: FakeGemma) -> None:
    run(
        *("Hi", "--system", "Be brief.", "--think", "--temperature", "0.5", "--top-k", "5", "--top-p", "0.9"),
        *("--min-p", "0.1", "--repetition-penalty", "1.1", "--seed", "3", "--max-tokens", "9"),
        *("--presence-penalty", "0.2", "--frequency-penalty", "-0.3", "--min-tokens", "4"),
        *("--stop", "a", "--stop", "b"),
    )
    asked = gemma.asked[0]
    assert asked.messages[0] == {"role": "system", "content": "Be brief."}
    assert asked.think
    assert asked.sampling == SamplingParams(
        temperature=0.5,
        top_k=5,
        top_p=0.9,
        min_p=0.1,
        repetition_penalty=1.1,
        presence_penalty=0.2,
        frequency_penalty=-0.3,
        seed=3,
        max_tokens=9,
        min_tokens=4,
        stop=("a", "b"),
    )


def test_temperature_zero_is_a_temperature(run: Run, gemma: FakeGemma) -> None:
    run("Hi", "--temperature", "0")
    assert gemma.asked[0].sampling.temperature == 0


def test_piped_text_is_the_prompt(run: Run, gemma: FakeGemma) -> None:
    run(piped="Hi there\n")
    assert gemma.asked[0].messages[-1]["content"] == "Hi there"


def test_piped_text_follows_the_prompt(run: Run, opened: list[Any], gemma: FakeGemma) -> None:
    run("e2b", "Sum up:", piped="a\nb\n")
    assert opened[0][0] == "e2b"
    assert gemma.asked[0].messages[-1]["content"] == "Sum up:\n\na\nb"


def test_a_model_alone_answers_what_is_piped(run: Run, opened: list[Any], gemma: FakeGemma) -> None:
    run("e2b", piped="Hi")
    assert opened[0][0] == "e2b"
    assert gemma.asked[0].messages[-1]["content"] == "Hi"


@pytest.mark.parametrize("gemma", [FakeGemma(said("Look.", thoughts="Hm.", calls=[CALL]))])
def test_json_is_one_object_with_everything(run: Run, tmp_path: Path) -> None:
    (tmp_path / "tools.json").write_text(json.dumps([WEATHER]))
    result = run("Weather?", "--tools", str(tmp_path / "tools.json"), "--json")
    assert result.stderr == ""
    assert result.stdout.count("\n") == 1
    assert json.loads(result.stdout) == {
        "model": "nano",
        "text": "Look.",
        "thoughts": "Hm.",
        "tool_calls": [
            {"type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Łódź"}'}}
        ],
        "malformed_calls": [],
        "finish_reason": "tool_calls",
        "usage": {"prompt_tokens": 7, "completion_tokens": 12, "cached_tokens": 0},
        "timing": {"first_token_s": 0.123, "tokens_per_s": 85.26},
    }


@pytest.mark.parametrize("gemma", [FakeGemma(said("", calls=[CALL]))])
def test_calls_are_printed(run: Run, gemma: FakeGemma, tmp_path: Path) -> None:
    (tmp_path / "tools.json").write_text(json.dumps([WEATHER]))
    result = run("Weather?", "--tools", str(tmp_path / "tools.json"))
    assert result.stdout == 'get_weather {"city": "Łódź"}\n'
    assert [tool["function"]["name"] for tool in gemma.asked[0].tools] == ["get_weather"]


@pytest.mark.parametrize("gemma", [FakeGemma([*said("Once upon")[:2], CtrlC()])])
def test_ctrl_c_ends_the_program_as_it_ends_others(run: Run) -> None:
    result = run("Tell me a story")
    assert result.stdout == "Once upon\n"
    assert result.exit_code == 130


def test_bytes_that_are_no_text_are_refused(run: Run) -> None:
    result = run(piped=b"\xff\xfe")
    assert result.exit_code == 2
    assert result.stderr == "error: standard input is not UTF-8 text: byte 0xff at 0; pipe text\n"


def test_a_third_word_is_a_mistake(run: Run) -> None:
    result = run("e2b", "Hi", "there")
    assert result.exit_code == 2
    assert "there" in result.stderr
