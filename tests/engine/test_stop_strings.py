"""Stop texts across the borders of tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemcut.engine.stop_strings import StopStrings


def shown(pieces: list[str], stops: list[str]) -> str:
    filter_ = StopStrings(stops)
    return "".join([filter_.push(piece) for piece in pieces] + [filter_.finish()])


@pytest.mark.parametrize(
    ("pieces", "stops", "want"),
    [
        (["one ", "two ", "three"], ["two"], "one "),
        (["one t", "w", "o three"], ["two"], "one "),
        (["one t", "w", "in"], ["two"], "one twin"),
        (["ends with tw"], ["two"], "ends with tw"),
        (["a", "b", "c"], ["abc"], ""),
        (["aaab"], ["aab"], "a"),
        (["xEND1 yEND2"], ["END2", "END1"], "x"),
        (["héllo wörld"], ["ö"], "héllo w"),
        (["no stops"], [], "no stops"),
        (["aba"], ["aba", "b"], "a"),  # "b" was complete first; once the split into tokens decided
        (["a", "b", "a"], ["aba", "b"], "a"),
        (["ab"], ["b", "ab"], ""),
    ],
)
def test_text_ends_before_the_first_stop(pieces: list[str], stops: list[str], want: str) -> None:
    assert shown(pieces, stops) == want


@given(st.lists(st.text("ab", max_size=4)), st.lists(st.text("ab", min_size=1, max_size=3), max_size=3))
def test_any_split_into_pieces_gives_what_the_whole_text_gives(pieces: list[str], stops: list[str]) -> None:
    whole = "".join(pieces)
    ends = [(place + len(stop), place) for stop in stops if (place := whole.find(stop)) >= 0]
    assert shown(pieces, stops) == (whole[: min(ends)[1]] if ends else whole)


def test_text_that_cannot_begin_a_stop_is_shown_at_once() -> None:
    filter_ = StopStrings(["\n\n"])
    assert filter_.push("Hello") == "Hello"
    assert filter_.push(" you\n") == " you"
    assert filter_.push("!") == "\n!"
