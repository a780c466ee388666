"""Events on the wire, as all kinds of clients read them."""

import json
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from gemcut.reply import Delta
from gemcut.server.chat_chunks import ChatChunks, Wanted
from gemcut.server.sse import Event, to_json, wire


@given(st.lists(st.text(), max_size=4))
def test_no_text_breaks_an_event_in_two(texts: list[str]) -> None:
    """httpx and others cut lines at U+0085, U+2028 and U+2029 too, and JSON leaves these as they are."""
    sent = wire([Event({"delta": text}) for text in texts]).decode()
    lines = [line for line in sent.splitlines() if line]
    assert [json.loads(line.removeprefix("data: "))["delta"] for line in lines] == texts


@given(st.text(), st.text(max_size=3))
def test_a_piece_of_text_is_told_as_any_encoder_tells_it(text: str, model: str) -> None:
    """Around the text each chunk has the same JSON, which is made once."""
    reply = SimpleNamespace(prompt_ids=())
    chunks = ChatChunks(model, None, [reply, reply], Wanted(usage=False, thoughts=True, logprobs=False))  # type: ignore[arg-type, list-item]
    (event,) = chunks.push(1, Delta("text", text))
    assert event.json == to_json(event.data)


def test_the_breaks_that_only_some_see_are_escaped() -> None:
    sent = wire([Event({"delta": "a\x85b\u2028c\u2029d é"}, "more")]).decode()
    assert sent == 'event: more\ndata: {"delta":"a\\u0085b\\u2028c\\u2029d é"}\n\n'
