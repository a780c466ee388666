"""Schemas are checked keyword by keyword; what cannot be enforced is tested with the constraints."""

import pydantic
import pytest

from gemcut.errors import BadConstraint
from gemcut.prompt.json_schema import read_schema
from gemcut.prompt.tool_grammar import tool_grammar


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


def test_names_of_properties_may_be_any_and_nothing_else() -> None:
    """zod 4 writes propertyNames into every record, so all tools with one were refused."""
    record = {"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": {}}
    assert read_schema({"anyOf": [record]}) == {"anyOf": [{"type": "object", "additionalProperties": {}}]}
    assert 'KEY ":"' in tool_grammar({"f": {"type": "object", "properties": {"a": record}}})
    with pytest.raises(BadConstraint, match="the keyword 'propertyNames', which cannot be enforced"):
        read_schema(record | {"propertyNames": {"pattern": "^a"}})


@pytest.mark.parametrize("schema", [{"const": "\x07"}, {"enum": ["a", {"b": ["c\x7f"]}]}])
def test_constants_with_control_characters_are_refused(schema: dict[str, object]) -> None:
    with pytest.raises(BadConstraint, match="without control characters other than"):
        read_schema(schema)
    assert read_schema({"const": "line\n\ttab"})


def test_dates_are_real_days() -> None:
    read = read_schema({"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]})
    assert "format" not in read["anyOf"][0]
    assert "pattern" in read["anyOf"][0]


def test_a_set_of_a_pydantic_model_is_refused_by_its_keyword() -> None:
    class Bag(pydantic.BaseModel):
        things: set[int]

    with pytest.raises(BadConstraint, match="properties things has the keyword 'uniqueItems'"):
        read_schema(Bag)
