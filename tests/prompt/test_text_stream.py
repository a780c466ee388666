import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemcut.prompt.text_stream import TextStream
from gemcut.prompt.tokenizer import Tokenizer
from tests.prompt.conftest import small_backend

SMALL = Tokenizer(small_backend())
BYTES = [SMALL.encode("\x00")[0] + byte for byte in range(256)]
any_ids = st.lists(st.sampled_from(BYTES) | st.integers(0, SMALL.vocab_size - 1), max_size=12)
utf8_ids = st.text(max_size=4).map(lambda text: [BYTES[byte] for byte in text.encode()])


def stream(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    """What each push gives, and then the end."""
    text = TextStream(tokenizer)
    return [*(text.push(number) for number in ids), text.finish()]


@settings(max_examples=500)
@given(ids=st.lists(any_ids | utf8_ids, max_size=5).map(lambda lists: [i for ids in lists for i in ids]))
def test_the_pieces_joined_are_the_decoded_text(tokenizer: Tokenizer, ids: list[int]) -> None:
    assert "".join(stream(tokenizer, ids)) == tokenizer.decode(ids)


@given(text=st.text())
def test_a_text_comes_through_unharmed(tokenizer: Tokenizer, text: str) -> None:
    pieces = stream(tokenizer, tokenizer.encode(text))
    assert "".join(pieces) == text.replace("▁", " ")
    assert "\ufffd" not in "".join(pieces) or "\ufffd" in text


def test_a_character_of_several_tokens_comes_whole(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("a🙂b")
    assert len(ids) == 6
    assert stream(tokenizer, ids) == ["a", "", "", "", "", "🙂b", ""]


def test_a_control_token_is_no_text_and_does_not_split_a_character(tokenizer: Tokenizer) -> None:
    """decode drops control tokens before it looks at bytes; so must the stream."""
    first, *rest = tokenizer.encode("🙂")
    assert "".join(stream(tokenizer, [first, tokenizer.special.quote, *rest])) == "🙂"


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_half_a_character_at_the_end_becomes_what_decode_makes_of_it(tokenizer: Tokenizer, cut: int) -> None:
    ids = tokenizer.encode("a🙂")[: 1 + cut]
    assert stream(tokenizer, ids)[-1] == "\ufffd" * cut
    assert tokenizer.decode(ids) == "a" + "\ufffd" * cut


def test_one_bad_byte_spoils_its_whole_run_as_in_decode(tokenizer: Tokenizer) -> None:
    """The decoder judges a run of bytes as a whole: no character may be given out before its run ends."""
    ids = [*tokenizer.encode("🙂"), BYTES[0xFF], *tokenizer.encode("x")]
    assert stream(tokenizer, ids) == ["", "", "", "", "", "\ufffd" * 5 + "x", ""]
    assert tokenizer.decode(ids) == "\ufffd" * 5 + "x"


def test_every_token_of_the_real_vocabulary_is_text_as_decode_has_it(real_tokenizer: Tokenizer) -> None:
    for number in range(0, real_tokenizer.vocab_size, 7):
        assert "".join(stream(real_tokenizer, [number])) == real_tokenizer.decode([number])
