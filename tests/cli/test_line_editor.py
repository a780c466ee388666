from pathlib import Path

import pytest

from gemcut.cli.line_editor import history_file, open_history
from tests.cli.terminal import Terminal

READ_LINES = """
from gemcut.cli.line_editor import LineEditor
editor = LineEditor(["/help", "/think"])
while True:
    try:
        print(f"got {editor.read('>>> ')!r}", flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    except EOFError:
        print("end", flush=True)
        break
"""
UP, LEFT = "\x1b[A", "\x1b[D"


def test_lines_are_edited_and_remembered(tmp_path: Path) -> None:
    with Terminal(["-c", READ_LINES], tmp_path) as terminal:
        terminal.wait_for(">>>")
        terminal.type("Hllo" + LEFT * 3 + "e\r")
        terminal.wait_for("got 'Hello'")
        terminal.wait_for(">>>")
        terminal.type(UP + "!\r")
        terminal.wait_for("got 'Hello!'")
        terminal.wait_for(">>>")
        terminal.type("\x04")
        terminal.wait_for("end")
        assert terminal.wait_for_end() == 0
    with Terminal(["-c", READ_LINES], tmp_path) as later:
        later.wait_for(">>>")
        later.type(UP + UP + "\r")
        later.wait_for("got 'Hello'")


def test_lines_between_triple_quotes_are_one_text(tmp_path: Path) -> None:
    with Terminal(["-c", READ_LINES], tmp_path) as terminal:
        terminal.wait_for(">>>")
        terminal.type('"""def f():\r')
        terminal.wait_for("...")
        terminal.type("    return 1\r")
        terminal.wait_for("...")
        terminal.type('"""\r')
        terminal.wait_for(r"got 'def f():\n    return 1'")
        terminal.wait_for(">>>")
        terminal.type('"""one line"""\r')
        terminal.wait_for("got 'one line'")
        terminal.wait_for(">>>")
        terminal.type('""" broken off\r')
        terminal.wait_for("...")
        terminal.type("\x03")
        terminal.wait_for("interrupted")


def test_alt_enter_puts_a_line_break_into_a_line(tmp_path: Path) -> None:
    with Terminal(["-c", READ_LINES], tmp_path) as terminal:
        terminal.wait_for(">>>")
        terminal.type("one\x1b\rtwo\r")
        terminal.wait_for(r"got 'one\ntwo'")


def test_tab_completes_commands(tmp_path: Path) -> None:
    with Terminal(["-c", READ_LINES], tmp_path) as terminal:
        terminal.wait_for(">>>")
        terminal.type("/th\t")
        terminal.wait_for("ink")
        terminal.type("\r")
        terminal.wait_for("got '/think'")


def test_the_history_is_in_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert history_file() == tmp_path / "gemcut" / "history"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert history_file() == tmp_path / ".local" / "state" / "gemcut" / "history"


def test_without_a_place_for_it_the_history_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    open_history().append_string("Hello")


def test_only_the_user_may_read_the_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    open_history()
    assert history_file().stat().st_mode & 0o077 == 0
