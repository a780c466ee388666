"""Schemas are checked keyword by keyword; what cannot be enforced is tested with the constraints."""

import pydantic
import pytest

from gemcut.errors import BadConstraint
from gemcut.prompt.json_schema import read_schema


def test_an_object_that_says_nothing_of_others_takes_none() -> None:
    read = read_schema({"properties": {"a": {"properties": {"b": {}}}}, "required": ["c"]})
    assert read["additionalProperties"] is False
    assert read["properties"]["a"]["additionalProperties"] is False
    assert read["properties"]["c"] is True, "what is required may be anything"


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {}}, "additionalProperties": {"type": "integer"}},
        {"properties": {"a": {}}, "patternProperties": {"b": {}}},
        {"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]},
        {"properties": {"a": {}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"const": {"properties": {}}},
    ],
)
def test_schemas_that_say_so_or_are_laid_over_each_other_stay_open(schema: dict[str, object]) -> None:
    assert read_schema(schema) == schema


def test_dates_are_real_days() -> None:
    read = read_schema({"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]})
    assert "format" not in read["anyOf"][0]
    assert "pattern" in read["anyOf"][0]


def test_a_set_of_a_pydantic_model_is_refused_by_its_keyword() -> None:
    class Bag(pydantic.BaseModel):
        things: set[int]

    with pytest.raises(BadConstraint, match="properties things has the keyword 'uniqueItems'"):
        read_schema(Bag)
