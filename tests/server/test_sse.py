"""Events on the wire, as all kinds of clients read them."""

import json

from hypothesis import given
from hypothesis import strategies as st

from gemcut.server.sse import Event, wire


@given(st.lists(st.text(), max_size=4))
def test_no_text_breaks_an_event_in_two(texts: list[str]) -> None:
    """httpx and others cut lines at U+0085, U+2028 and U+2029 too, and JSON leaves these as they are."""
    sent = wire([Event({"delta": text}) for text in texts]).decode()
    lines = [line for line in sent.splitlines() if line]
    assert [json.loads(line.removeprefix("data: "))["delta"] for line in lines] == texts


def test_the_breaks_that_only_some_see_are_escaped() -> None:
    sent = wire([Event({"delta": "a\x85b\u2028c\u2029d é"}, "more")]).decode()
    assert sent == 'event: more\ndata: {"delta":"a\\u0085b\\u2028c\\u2029d é"}\n\n'
