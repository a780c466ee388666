"""Strings of schemas as expressions of the grammar of calls."""

import re
from datetime import date

import pytest

from gemcut.errors import BadConstraint
from gemcut.prompt.string_terminal import FORMATS, string_terminal


@pytest.mark.parametrize(
    ("schema", "terminal"),
    [
        ({}, "TEXT"),
        ({"maxLength": 3}, "/(?s:.{0,3})/"),
        ({"minLength": 2}, "/(?s:.{2,})/"),
        ({"pattern": "^ab$"}, "/(ab)/"),
        ({"pattern": "a"}, "/(?s:.*)(a)(?s:.*)/"),
        ({"pattern": "^(a|b)"}, "/((a|b))(?s:.*)/"),
        ({"pattern": r"a\|b\$"}, r"/(?s:.*)(a\|b\$)(?s:.*)/"),
    ],
)
def test_keywords_become_an_expression(schema: dict[str, object], terminal: str) -> None:
    assert string_terminal("it", schema) == terminal


def test_a_pattern_beside_a_length_is_refused() -> None:
    with pytest.raises(BadConstraint, match="it has pattern beside a length"):
        string_terminal("it", {"pattern": "a", "maxLength": 3})


@pytest.mark.parametrize("year", [1900, 2000, 2023, 2024, 2100, 2400])
def test_days_are_those_of_the_calendar(year: int) -> None:
    for month in range(14):
        for day in range(33):
            written = f"{year}-{month:02}-{day:02}"
            try:
                real = bool(date.fromisoformat(written))
            except ValueError:
                real = False
            assert bool(re.fullmatch(FORMATS["date"], written)) == real, written
