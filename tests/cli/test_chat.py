"""Conversations in a terminal of their own, with a model that babbles until its context is full."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal
from tests.tiny_model import write_tiny_model

READY = "/help lists what you can type, Ctrl-D leaves"
TOKENS = " tok/s"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_model(folder)
    return folder


@pytest.fixture
def terminal(model: Path, tmp_path: Path) -> Iterator[Terminal]:
    """A conversation with short answers."""
    with Terminal(["-m", "gemcut", "run", str(model), "--max-tokens", "9"], tmp_path) as terminal:
        terminal.wait_for(READY)
        terminal.wait_for(">>>")
        yield terminal


def test_questions_are_answered_until_the_user_leaves(terminal: Terminal) -> None:
    terminal.type("Hello\r")
    terminal.wait_for("9 tokens · ")
    terminal.wait_for(">>>")
    terminal.type("\r")  # an empty line asks nothing
    terminal.wait_for(">>>")
    terminal.type("Hel\x03")  # Ctrl-C drops the line and does not leave
    terminal.wait_for("Ctrl-D or /exit leaves")
    terminal.wait_for(">>>")
    terminal.type("Hello again\r")
    terminal.wait_for("9 tokens · ")
    terminal.wait_for(">>>")
    terminal.type("\x04")
    assert terminal.wait_for_end() == 0


def test_commands_are_obeyed_and_mistakes_told(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "talk.json"
    for typed, told in (
        ("/thnk", "did you mean /think?"),
        ("/think on", "thinking is on"),
        ("/think off", "thinking is off"),
        ("/system Be brief.", "the system prompt is set"),
        ("Hello", "9 tokens · "),
        ("x" * 600, "context holds 512"),  # the question is taken back and the talk goes on
        (f"/save {file}", "saved 2 messages"),
        ("/clear", "forgotten"),
        ("/load nowhere.json", "error: cannot read nowhere.json"),
        (f"/load {file}", "loaded 2 messages"),
    ):
        terminal.type(typed + "\r")
        terminal.wait_for(told)
        terminal.wait_for(">>>")
    saved = json.loads(file.read_text())
    assert saved["system"] == "Be brief."
    assert [message["role"] for message in saved["messages"]] == ["user", "assistant"]
    assert len(saved["messages"][1]["content"]) == 9


def test_ctrl_c_stops_the_answer_and_not_the_program(model: Path, tmp_path: Path) -> None:
    with Terminal(["-m", "gemcut", "run", str(model)], tmp_path) as terminal:
        terminal.wait_for(READY)
        terminal.wait_for(">>>")
        terminal.type("Tell me a story\r")
        terminal.wait_for("\x1b[?2004l")  # the line is read, the answer comes next
        terminal.wait_for_more(300)  # beyond the line editor's end, and a line about missing kernels
        terminal.type("\x03")
        terminal.wait_for("stopped")
        terminal.wait_for(">>>")
        terminal.type(f"/save {tmp_path / 'talk.json'}\r")
        terminal.wait_for("saved 2 messages")
        told = json.loads((tmp_path / "talk.json").read_text())["messages"][1]["content"]
        assert 10 < len(told) < 480


def test_the_user_plays_the_tools(tmp_path: Path) -> None:
    """Two answers that are given: a call, and what is said to its result."""
    code = """
from gemcut.cli.chat import chat
from gemcut.cli.conversation import Conversation
from gemcut.cli.line_editor import LineEditor
from gemcut.cli.screen import Screen
from tests.cli.fake import CALL, PLAIN, FakeGemma, said
gemma = FakeGemma(said("", calls=[CALL]), said("It rains."), said("", calls=[CALL]))
chat(Conversation(gemma, "nano", PLAIN, Screen()), LineEditor([]), Screen())
print(gemma.asked[1].messages[-1])
"""
    with Terminal(["-c", code], tmp_path) as terminal:
        terminal.wait_for(">>>")
        terminal.type("Weather?\r")
        terminal.wait_for('get_weather {"city": "Łódź"}')
        terminal.wait_for("get_weather returns:")
        terminal.type("rain\r")
        terminal.wait_for("It rains.")
        terminal.wait_for(">>>")
        terminal.type("And now?\r")
        terminal.wait_for("get_weather returns:")
        terminal.type("\x03")
        terminal.wait_for("taken back")
        terminal.wait_for(">>>")
        terminal.type("\x04")
        terminal.wait_for("{'role': 'tool', 'name': 'get_weather', 'content': 'rain'}")


@pytest.mark.usefixtures("nano")
def test_nano_thinks_and_answers(tmp_path: Path) -> None:
    with Terminal(["-m", "gemcut", "run", "--temperature", "0"], tmp_path) as terminal:
        terminal.wait_for("nano · /help")
        terminal.wait_for(">>>")
        terminal.type("/think on\r")
        terminal.wait_for("thinking is on")
        terminal.wait_for(">>>")
        terminal.type("What is 12 + 30?\r")
        thoughts_and_answer = terminal.wait_for(TOKENS)
        assert "\x1b[2m" in thoughts_and_answer
        assert "12 + 30 = 42" in thoughts_and_answer
        terminal.wait_for(">>>")
        terminal.type("/exit\r")
        assert terminal.wait_for_end() == 0
