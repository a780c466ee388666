from hypothesis import given
from hypothesis import strategies as st

from gemcut.prompt.escape import encode_protected, protect
from gemcut.prompt.tokenizer import Tokenizer
from tests.prompt.conversations import hostile_text


@given(text=hostile_text)
def test_protected_text_comes_back_as_plain_text(tokenizer: Tokenizer, text: str) -> None:
    assert encode_protected(protect(text), tokenizer) == tokenizer.encode(text)


def test_marks_that_are_not_protected_are_control_tokens(tokenizer: Tokenizer) -> None:
    ids = encode_protected("<bos>" + protect("<bos>"), tokenizer)
    assert ids == [tokenizer.special.bos, *tokenizer.encode("<bos>")]


@given(first=hostile_text, second=hostile_text)
def test_sorting_and_trimming_and_capitals_are_as_before(first: str, second: str) -> None:
    assert (protect(first) < protect(second)) == (first < second)
    assert protect(first.strip()) == protect(first).strip()
    assert protect(first.upper()) == protect(first).upper()


def test_everything_within_a_value_is_protected() -> None:
    value = {"<": ["<a", {"b": "<"}], "n": 1.5, "t": True, "x": None}
    marked = protect(value)
    assert marked == {protect("<"): [protect("<a"), {"b": protect("<")}], "n": 1.5, "t": True, "x": None}


@given(text=st.text())
def test_only_the_sign_that_opens_a_mark_is_touched(text: str) -> None:
    assert (protect(text) == text) == ("<" not in text)
