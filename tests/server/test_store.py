"""What is stored: never more than there is room for, and nothing twice."""

import sys
from typing import Any

import pytest

from gemcut.server.refusal import Refusal
from gemcut.server.store import Store, Stored, num_bytes


def item(name: str, text: str = "") -> dict[str, Any]:
    return {"id": name, "type": "message", "role": "user", "content": text}


def test_what_goes_on_with_something_shares_its_items_which_count_once() -> None:
    store = Store(10**6)
    first = Stored("response", {}, given=(item("a", "x" * 1000),), made=(item("b"),))
    store.put("r1", first)
    alone = store.held_bytes
    store.put("r2", Stored("response", {}, before=first.items, given=(item("c"),)))
    assert store.held_bytes < alone + 1000
    store.delete("r1", "response")
    assert store.held_bytes > 1000  # the second still holds them
    assert store.resolved({"type": "item_reference", "id": "a"}) is first.given[0]
    store.delete("r2", "response")
    assert store.held_bytes == 0
    with pytest.raises(Refusal, match="there is no item 'a'"):
        store.resolved({"type": "item_reference", "id": "a"})


def test_items_of_what_was_dropped_count_as_long_as_anybody_holds_them() -> None:
    """The first of a chain went, and what the later ones kept of it was counted nowhere."""
    store = Store(50_000)
    for number in range(20):
        large = Stored("response", {}, given=(item(f"large {number}", "x" * 20_000),))
        store.put(f"first {number}", large)
        store.put(f"second {number}", Stored("response", {}, before=large.items, given=(item("next"),)))
        kept = {id(each): each for stored in store._kept.values() for each in stored.items}
        assert sum(len(each["content"]) for each in kept.values()) <= store.held_bytes <= 50_000
    assert store.find("second 19", "response") is not None
    assert store.find("first 0", "response") is None


def test_a_conversation_that_is_put_anew_takes_the_place_of_what_it_was() -> None:
    store = Store(10**6)
    given: tuple[dict[str, Any], ...] = ()
    for number in range(50):
        given = (*given, item(str(number)))
        store.put("conv", Stored("conversation", {"n": number}, given=given))
    assert store.held_bytes == sum(map(num_bytes, given)) + num_bytes({"n": 49})
    assert store.get("conv", "conversation").shown == {"n": 49}
    assert store.find("conv", "response") is None


def test_the_size_of_a_value_is_near_what_python_takes_for_it() -> None:
    value = {"a": ["text", 1, None, 2.5], "b": {"c": "x" * 5000}}
    parts = [value, value["a"], value["b"], "text", "x" * 5000, *"abc"]
    assert 0.5 < num_bytes(value) / sum(map(sys.getsizeof, parts)) < 1.5
