import enum
import math
from typing import Any

import pytest
from hypothesis import given

from gemcut.prompt.plain_json import plain_json
from tests.prompt.conversations import hostile_text, json_values


class Size(enum.IntEnum):
    small = 1


class Colour(str, enum.Enum):  # noqa: UP042
    red = "red"


@given(value=json_values(hostile_text))
def test_json_stays_as_it_is(value: Any) -> None:
    assert plain_json(value) == value


def test_subclasses_become_plain_types() -> None:
    """A subclass prints itself as it likes: str(Size.small) may be 'Size.small' and not '1'."""
    plain = plain_json({Colour.red: (Size.small, Colour.red, True)})
    assert plain == {"red": [1, "red", True]}
    assert type(plain["red"][0]) is int
    assert type(plain["red"][1]) is str
    assert plain["red"][2] is True


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"a": object()}, "a value of type object"),
        ([math.nan], "nan is no JSON number"),
        ([-math.inf], "-inf is no JSON number"),
        ({1: 2}, "the key 1 is no string"),
        ({"a": b"x"}, "a value of type bytes"),
    ],
)
def test_what_json_cannot_hold_is_named(value: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        plain_json(value)


def test_a_value_within_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested more than 100 deep"):
        plain_json(endless)
