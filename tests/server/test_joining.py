"""Texts of windows are joined without loss or repetition, whatever the windows, and as they come."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gemcut.server.joining import HELD, Joining, passage, words_of

WORDS = st.lists(st.text("abcdefgh", min_size=2, max_size=6), min_size=1, max_size=120, unique=True)


def joined(texts: Sequence[str]) -> str:
    joining = Joining()
    for number in range(len(texts)):
        joining.open(number == len(texts) - 1)
    said = [joining.push(number, text) + joining.end(number) for number, text in enumerate(texts)]
    assert "".join(joining.parts) == "".join(said)
    return "".join(said)


@st.composite
def spread(draw: st.DrawFn, words: Sequence[str], least: int) -> list[list[str]]:
    """The words in windows, each of which ends later than the one before and shares `least` words with it."""
    begin, end, windows = 0, 0, []
    while True:
        end = min(max(begin + draw(st.integers(2 * least + 1, HELD)), end + 1), len(words))
        windows.append(list(words[begin:end]))
        if end == len(words):
            return windows
        begin = draw(st.integers(max(begin + 1, end - HELD), end - least))


@settings(max_examples=100, deadline=None)
@given(WORDS, st.data())
def test_words_spread_over_windows_come_back(words: list[str], data: st.DataObject) -> None:
    windows = data.draw(spread(words, least=1))
    assert joined([" ".join(window) for window in windows]) == " ".join(words)


@settings(max_examples=100, deadline=None)
@given(WORDS, st.data())
def test_words_that_an_edge_cuts_come_back_whole(words: list[str], data: st.DataObject) -> None:
    windows = data.draw(spread(words, least=4))
    for number, window in enumerate(windows):
        if number > 0:
            window[0] = window[0][data.draw(st.integers(1, len(window[0]) - 1)) :]
        if number < len(windows) - 1:
            window[-1] = window[-1][: data.draw(st.integers(1, len(window[-1]) - 1))]
    assume(all(len(set(window)) == len(window) for window in windows))
    assert joined([" ".join(window) for window in windows]) == " ".join(words)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(range(9)).map("w{}".format), max_size=100), st.data())
def test_words_that_come_again_are_not_lost(words: list[str], data: st.DataObject) -> None:
    """As long as no two of them come again in the same order."""
    pairs = list(zip(words, words[1:], strict=False))
    assume(words and len(set(pairs)) == len(pairs))
    windows = data.draw(spread(words, least=3))
    assert joined([" ".join(window) for window in windows]) == " ".join(words)


@settings(max_examples=100, deadline=None)
@given(WORDS, st.data())
def test_pieces_in_whatever_order_give_the_same(words: list[str], data: st.DataObject) -> None:
    texts = [" ".join(window) for window in data.draw(spread(words, least=1))]
    joining, said = Joining(), ""
    for number in range(len(texts)):
        joining.open(number == len(texts) - 1)
    order = random.Random(data.draw(st.integers(0, 99)))
    waiting = dict(enumerate(texts))
    while waiting:
        number = order.choice(list(waiting))
        size = order.randint(0, 9)
        said += joining.push(number, waiting[number][:size])
        waiting[number] = waiting[number][size:]
        if not waiting[number]:
            said += joining.end(number)
            del waiting[number]
    assert said == " ".join(words)


def test_what_is_certain_is_given_at_once() -> None:
    joining = Joining()
    first = joining.open(is_last=False)
    words = [f"w{number}" for number in range(HELD + 3)]
    assert joining.push(first, " ".join(words)) == "w0 w1"
    assert joining.push(first, " x ") == " w2"
    only = Joining()
    number = only.open(is_last=True)
    assert [only.push(number, piece) for piece in ("Hel", "lo wor", "ld")] == ["", "Hello", ""]
    assert only.end(number) == " world"


@pytest.mark.parametrize(
    ("before", "after", "whole"),
    [
        ("The best of times.", "Best of times, the worst", "The best of times, the worst"),
        ("We are going to the sto", "owing to the store now", "We are going to the store now"),
        ("He said I am not sure of it", "said I'm not sure of it now", "He said I am not sure of it now"),
        ("Nothing more.", "A new sentence.", "Nothing more. A new sentence."),
        ("Nothing more.", "", "Nothing more."),
        ("", "Only now.", "Only now."),
        ("It is — as one says — late", "as one says — late, yes", "It is — as one says — late, yes"),
        ("我们今天去公园散", "今天去公园散步。", "我们今天去公园散步。"),
        ("我们走", "好的", "我们走好的"),
        ("ÜBER den Dä", "über den Dächern", "ÜBER den Dächern"),
        ("one\n\ntwo three", "two three\tfour", "one two three four"),
    ],
)  # fmt: skip
def test_texts_are_joined_as_a_reader_would(before: str, after: str, whole: str) -> None:
    assert joined([before, after]) == whole


def test_a_silent_window_between_two_that_speak_changes_nothing() -> None:
    assert joined(["One two.", " ", "Three."]) == "One two. Three."


@given(st.lists(st.text("ab c,。我", max_size=30), max_size=6))
def test_whatever_windows_say_no_word_is_made_up(texts: list[str]) -> None:
    told = [word.strip() for text in texts for word in words_of(text)]
    for word in words_of(joined(texts)):
        assert word.strip() in told or any(letter in word for letter in "我。,")


def test_words_without_an_equal_beside_them_are_all_kept() -> None:
    assert passage(["a", "b"], ["c", "d"]) == (2, 0)
    assert passage([], ["c"]) == (0, 0)
