import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemcut.errors import BadTools
from gemcut.prompt.tool_schema import plain_schema, tidy_schema
from gemcut.prompt.tools import read_tools
from tests.prompt.conversations import hostile_text, json_values, raw_tools

KEYWORDS = (
    "$ref",
    "$defs",
    "definitions",
    "anyOf",
    "oneOf",
    "allOf",
    "items",
    "properties",
    "type",
    "enum",
    "const",
)
leaves = (
    st.none() | st.booleans() | st.integers() | st.sampled_from(("string", "object", "null", "#/$defs/a"))
)
keys = st.sampled_from((*KEYWORDS, "a"))
odd_schemas = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@given(tools=raw_tools(hostile_text))
def test_what_templates_can_print_stays_as_it_is(tools: list[dict[str, Any]]) -> None:
    for tool in tools:
        parameters = tool["function"].get("parameters", {})
        assert plain_schema("tool", parameters) == parameters


def test_alternatives_are_told() -> None:
    schema = {
        "anyOf": [{"type": "integer"}, {"type": "string", "enum": ["x"]}, {"type": "null"}],
        "description": "d",
    }
    assert plain_schema("tool", schema) == {
        "description": 'd One of: {"type": "integer"} or {"type": "string", "enum": ["x"]}',
        "type": ["integer", "string"],
        "nullable": True,
    }
    assert plain_schema("tool", {"oneOf": [{"type": "string"}, {"const": 1}]})["type"] == "string"


def test_parts_of_a_whole_are_joined() -> None:
    whole = {
        "allOf": [{"properties": {"a": {"type": "string"}}}, {"properties": {"b": {}}, "required": ["b"]}]
    }
    assert plain_schema("tool", whole) == {
        "properties": {"a": {"type": "string"}, "b": {}},
        "required": ["b"],
    }


def test_a_property_may_be_called_like_a_keyword() -> None:
    named = {"properties": {"title": {"title": "T", "type": "string"}, "const": {"const": 1}, "anyOf": {}}}
    assert tidy_schema(named) == {
        "properties": {
            "title": {"type": "string"},
            "const": {"enum": [1], "description": "One of: 1"},
            "anyOf": {},
        }
    }


def test_references_that_double_and_double_are_refused() -> None:
    """Thirty small definitions, each of two of the next, would be a thousand million schemas."""
    names = [f"d{number}" for number in range(30)]
    definitions: dict[str, Any] = {"d30": {"type": "string"}}
    for number, name in enumerate(names):
        following = {"$ref": f"#/$defs/d{number + 1}"}
        definitions[name] = {"type": "object", "properties": {"a": following, "b": following}}
    with pytest.raises(BadTools, match="more than 10000 schemas"):
        plain_schema("tool", {"$ref": "#/$defs/d0", "$defs": definitions})


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (True, "has a schema of type bool"),
        ({"$defs": []}, "has [$]defs of type list"),
        ({"$ref": ["a"]}, r"refers to \['a'\], which is no schema"),
        ({"$ref": "#/$defs/a", "$defs": {"a": True}}, "refers to '#/[$]defs/a', which is no schema"),
        ({"anyOf": 1}, "has anyOf that is no list"),
        ({"oneOf": [True]}, "has oneOf that is no list of schemas"),
    ],
)
def test_what_is_wrong_is_named(schema: Any, told: str) -> None:
    with pytest.raises(BadTools, match=f"^tool 0 {told}"):
        plain_schema("tool 0", schema)


@given(schema=odd_schemas, value=json_values(hostile_text))
def test_a_schema_of_any_shape_is_read_or_refused(schema: Any, value: Any) -> None:
    for parameters in (schema, value, {"properties": {"a": schema}, "$defs": {"a": schema}}):
        with contextlib.suppress(BadTools):
            assert len(read_tools([{"name": "f", "parameters": parameters}])) == 1
