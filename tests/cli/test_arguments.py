import io
import sys
from pathlib import Path

import pytest

from gemcut.cli.arguments import model_and_prompt, names_model, piped_text, with_piped
from gemcut.errors import BadOption


class Pipe(io.TextIOWrapper):
    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))


@pytest.mark.parametrize(
    "word",
    [
        "nano",
        "e2b",
        "27b",  # looks like a size: "there is no model '27b'" is the better answer
        "gemma-4-E2B-it",
        "google/gemma-4-E2B-it",
        "./missing",
        "~/models/x",
        "model.Q4_0.gguf",
    ],
)
def test_a_lone_word_that_looks_like_a_model_is_one(word: str) -> None:
    assert names_model(word)


@pytest.mark.parametrize(
    "word", ["Hello", "What is 2/3?", "either/or then", "how big is e2b?", "/think twice", "", "2"]
)
def test_a_lone_word_that_does_not_is_a_prompt(word: str) -> None:
    assert not names_model(word)


def test_a_folder_that_exists_is_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert names_model("my model")
    assert not names_model("your model")


def test_without_a_model_it_is_nano() -> None:
    assert model_and_prompt(None, None) == ("nano", None)
    assert model_and_prompt("Hello", None) == ("nano", "Hello")


def test_of_two_words_the_first_is_the_model_whatever_it_looks_like() -> None:
    assert model_and_prompt("Hello", "you") == ("Hello", "you")
    assert model_and_prompt("e2b", "") == ("e2b", "")


def test_a_model_alone_has_no_prompt() -> None:
    assert model_and_prompt("e2b", None) == ("e2b", None)


def test_piped_text_follows_the_prompt() -> None:
    assert with_piped("Sum up:", "a long text") == "Sum up:\n\na long text"
    assert with_piped(None, "a long text") == "a long text"
    assert with_piped("Hello", None) == "Hello"
    assert with_piped(None, None) is None


@pytest.mark.parametrize(("data", "text"), [(b"  caf\xc3\xa9\n\n", "café"), (b" \n", None), (b"", None)])
def test_a_pipe_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch, data: bytes, text: str | None) -> None:
    monkeypatch.setattr(sys, "stdin", Pipe(data))
    assert piped_text() == text


def test_bytes_that_are_no_text_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Pipe(b"ab\xff"))
    with pytest.raises(BadOption, match="byte 0xff at 2"):
        piped_text()


def test_a_word_longer_than_any_file_name_is_a_prompt() -> None:
    assert model_and_prompt("a" * 300, None) == ("nano", "a" * 300)
