import re

import pytest

from gemcut.cli.progress import counted

PARTS = [b"abc", b"", b"defgh"]


def test_what_comes_is_what_was_given_and_nothing_is_shown_but_on_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with counted(iter(PARTS), 8, of=len) as parts:
        assert list(parts) == PARTS
    assert capsys.readouterr() == ("", "")


def test_the_bar_counts_bytes_and_leaves(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    monkeypatch.setenv("TERM", "xterm")
    with counted(iter(PARTS), 8, of=len) as parts:
        for _ in parts:
            pass
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "8/8 bytes" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.err)
    assert shown.err.endswith("\x1b[2K")  # the line is empty again


def test_the_bar_leaves_before_an_error_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A traceback keeps the generator alive: without a `with`, the bar went on below the error."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")

    def work() -> None:
        with counted(iter(PARTS), 8, of=len) as parts:
            next(parts)
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        work()
    assert capsys.readouterr().err.endswith("\x1b[2K")
