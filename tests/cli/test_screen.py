import io

import pytest

from gemcut.cli.screen import Screen, is_colourful


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def open_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """One terminal that shows both stdout and stderr."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return terminal


def test_text_goes_to_stdout_and_everything_else_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.thought("The user ")
    screen.thought("greets.")
    screen.text("Hel")
    screen.text("lo!")
    screen.note("2 tokens")
    seen = capsys.readouterr()
    assert seen.out == "Hello!\n"
    assert seen.err == "The user greets.\n2 tokens\n"


def test_thoughts_and_notes_are_dimmed_on_a_terminal_and_text_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    screen = Screen()
    screen.thought("Hm.")
    screen.text("Hello!")
    screen.note("2 tokens")
    assert terminal.getvalue() == "\x1b[2mHm.\x1b[22m\nHello!\n\x1b[2m2 tokens\n\x1b[22m"


def test_no_color_means_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    Screen().note("2 tokens")
    assert terminal.getvalue() == "2 tokens\n"
    assert not is_colourful(terminal)


def test_a_model_cannot_send_the_terminal_escape_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    Screen().text("a\x1b[2Jb\tc\n\x9bd")
    assert terminal.getvalue() == "a\ufffd[2Jb\tc\n\ufffdd"


def test_a_pipe_gets_the_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().text("a\x1bb")
    assert capsys.readouterr().out == "a\x1bb"


def test_ending_twice_ends_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.end()
    screen.text("Hello!")
    screen.end()
    screen.end()
    assert capsys.readouterr().out == "Hello!\n"


def test_lines_that_pass_stand_in_one_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Screen().passing("round 1")
    assert capsys.readouterr() == ("", "")  # nobody looks
    terminal = open_terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen()
    screen.passing("round 1")
    screen.passing("round 2")
    screen.clear()
    assert terminal.getvalue() == "\r\x1b[Kround 1\r\x1b[Kround 2\r\x1b[K"
