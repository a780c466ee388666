import enum
from collections.abc import Callable
from typing import Annotated, Any, Literal, Optional

import pydantic
import pytest

from gemcut.errors import BadTools
from gemcut.prompt.template import ChatTemplate
from gemcut.prompt.tools import read_docstring, read_tools

SCHEMA = {
    "name": "f",
    "description": "Does f.",
    "parameters": {
        "type": "object",
        "properties": {
            "a": {"type": "string", "title": "A", "default": "x", "minLength": 1},
            "b": {"type": ["integer", "null"]},
            "title": {
                "type": "array",
                "items": {"type": "object", "properties": {"const": {"type": "number"}}},
            },
        },
        "required": ["a"],
    },
}


class Colour(enum.Enum):
    red = "red"
    blue = "blue"


class Inner(pydantic.BaseModel):
    """A place."""

    street: str
    number: int | None = None


class Outer(pydantic.BaseModel):
    inner: Inner
    many: list[Inner] = []


class Tree(pydantic.BaseModel):
    leaves: list["Tree"]


class Weather:
    def forecast(self, city: str) -> str:
        """Tell."""
        return city


def get_weather(
    city: str,
    unit: Literal["C", "F"] = "C",
    days: int = 1,
    tags: list[str] | None = None,
    exact: Annotated[bool, pydantic.Field(description="To the degree.")] = False,
) -> str:
    """Tells the weather
    of a city.

    It may be wrong.

    Args:
        city: the city, as in
            Ulm: it has a colon
        unit (str): Celsius or Fahrenheit

        days: how many

    Returns:
        city: a sentence.
    """
    return f"{city}{unit}{days}{tags}{exact}"


def parameters(function: Callable[..., Any]) -> dict[str, Any]:
    properties: dict[str, Any] = read_tools([function])[0]["function"]["parameters"]["properties"]
    return properties


def test_no_tools_are_none() -> None:
    assert read_tools(None) == ()
    assert read_tools([]) == ()


def test_a_schema_is_read_as_it_is_with_and_without_its_wrapping() -> None:
    wanted = ({"type": "function", "function": SCHEMA},)
    assert read_tools([SCHEMA]) == wanted
    assert read_tools(wanted) == wanted


def test_a_schema_may_say_little() -> None:
    assert read_tools([{"name": "now"}])[0]["function"] == {"name": "now", "description": ""}
    assert read_tools([{"name": "now", "parameters": {}}])[0]["function"] == {
        "name": "now",
        "description": "",
    }
    assert read_tools([{"name": "now", "parameters": {"properties": {}}, "strict": True}])[0]["function"] == {
        "name": "now",
        "description": "",
        "parameters": {"type": "object", "properties": {}},
        "strict": True,
    }


def test_a_typed_function_describes_itself() -> None:
    assert read_tools([get_weather])[0]["function"] == {
        "name": "get_weather",
        "description": "Tells the weather of a city. It may be wrong.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "the city, as in Ulm: it has a colon"},
                "unit": {"type": "string", "enum": ["C", "F"], "description": "Celsius or Fahrenheit"},
                "days": {"type": "integer", "description": "how many"},
                "tags": {"type": "array", "items": {"type": "string"}, "nullable": True},
                "exact": {"type": "boolean", "description": "To the degree."},
            },
            "required": ["city"],
        },
    }


def test_the_template_prints_a_typed_function(nano_template: ChatTemplate) -> None:
    rendered = nano_template.render([{"role": "user", "content": "?"}], tools=read_tools([get_weather]))
    assert 'unit:{description:<|"|>Celsius or Fahrenheit<|"|>,enum:[<|"|>C<|"|>,<|"|>F<|"|>]' in rendered
    assert 'tags:{items:{type:<|"|>STRING<|"|>},nullable:true,type:<|"|>ARRAY<|"|>}' in rendered


def test_a_function_without_a_docstring_or_parameters_is_fine() -> None:
    def now():  # type: ignore[no-untyped-def]
        pass

    wanted = {"type": "object", "properties": {}, "required": []}
    assert read_tools([now])[0]["function"] == {"name": "now", "description": "", "parameters": wanted}


def test_a_method_and_a_coroutine_are_functions_too() -> None:
    async def later(at: float) -> None:
        """Wait."""

    assert parameters(Weather().forecast) == {"city": {"type": "string"}}
    assert parameters(later) == {"at": {"type": "number"}}


def test_models_are_written_out_and_null_becomes_nullable() -> None:
    def visit(place: Outer, colour: Colour, maybe: Optional[Inner] = None) -> None:  # noqa: UP045
        pass

    inner = {
        "type": "object",
        "description": "A place.",
        "properties": {
            "street": {"type": "string"},
            "number": {"type": "integer", "nullable": True, "default": None},
        },
        "required": ["street"],
    }
    many = {"type": "array", "items": inner, "default": []}
    assert parameters(visit) == {
        "place": {"type": "object", "properties": {"inner": inner, "many": many}, "required": ["inner"]},
        "colour": {"type": "string", "enum": ["red", "blue"]},
        "maybe": inner | {"nullable": True},
    }


def test_what_the_template_cannot_print_is_told_in_words() -> None:
    def pick(size: Literal[1, 2], one: Literal["x"], many: dict[str, int], either: int | str | None) -> None:
        """Pick.

        Args:
            one: the one
        """

    assert parameters(pick) == {
        "size": {"type": "integer", "enum": [1, 2], "description": "One of: 1, 2"},
        "one": {"type": "string", "enum": ["x"], "description": "the one"},
        "many": {"type": "object"},
        "either": {"type": ["integer", "string"], "nullable": True},
    }


def test_references_and_unions_in_a_schema_are_written_out() -> None:
    schema = {
        "type": "object",
        "$defs": {"P": {"type": "object", "properties": {"x": {"type": "number"}}}, "S": {"type": "string"}},
        "properties": {
            "p": {"$ref": "#/$defs/P", "description": "where"},
            "q": {"anyOf": [{"$ref": "#/$defs/P"}, {"type": "null"}], "description": "or not"},
            "r": {"oneOf": [{"type": "string"}, {"type": "object", "properties": {}}], "description": "any"},
            "s": {"allOf": [{"$ref": "#/$defs/S"}], "description": "all"},
            "t": {"type": "array", "items": {"$ref": "#/$defs/S"}},
            "u": {"allOf": [{"$ref": "#/$defs/P"}, {"properties": {"y": {"type": "number"}}}]},
        },
    }
    point = {"type": "object", "properties": {"x": {"type": "number"}}}
    told = 'any One of: {"type": "string"} or {"type": "object", "properties": {}}'
    assert read_tools([{"name": "f", "parameters": schema}])[0]["function"]["parameters"] == {
        "type": "object",
        "properties": {
            "p": point | {"description": "where"},
            "q": point | {"description": "or not", "nullable": True},
            "r": {"type": ["string", "object"], "description": told},
            "s": {"type": "string", "description": "all"},
            "t": {"type": "array", "items": {"type": "string"}},
            "u": {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "number"}}},
        },
    }


def untyped(city) -> None:  # type: ignore[no-untyped-def]
    pass


def unknown_type(city: "Nowhere") -> None:  # type: ignore[name-defined]  # noqa: F821
    pass


def unnamed(*cities: str) -> None:
    pass


def unspeakable(what: Callable[[], int]) -> None:
    pass


def endless(tree: Tree) -> None:
    pass


LOOP = {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}


@pytest.mark.parametrize(
    ("tools", "told"),
    [
        ({"name": "f"}, "must be a list of schemas or functions, not dict"),
        ("f", "not str"),
        (7, "not int"),
        ([7], "tool 0 is of type int"),
        ([int], "tool 0 is of type type"),
        ([{}], "tool 0 has the name None"),
        ([SCHEMA, {"type": "function"}], "tool 1 has the name None"),
        ([{"type": "function", "function": 7}], "tool 0 must look like"),
        ([{"type": "web_search", "function": SCHEMA}], "tool 0 must look like"),
        ([{"type": "function", "function": SCHEMA, "x": 1}], "tool 0 must look like"),
        ([SCHEMA | {"args": {}}], "tool 0 has the unknown key 'args'; allowed are name, description"),
        ([SCHEMA | {"description": 7}], r"tool 0 \('f'\) has a description of type int"),
        ([SCHEMA | {"parameters": [1]}], "has a schema of type list"),
        ([SCHEMA | {"parameters": {"type": "string"}}], "has parameters of type 'string'"),
        ([SCHEMA | {"parameters": {"x": object()}}], "tool 0 holds what JSON cannot: a value of type object"),
        ([SCHEMA | {"parameters": {"$ref": "#/$defs/x"}}], "refers to '#/[$]defs/x', which is no schema"),
        ([SCHEMA | {"parameters": LOOP}], "refers to itself"),
        ([SCHEMA, SCHEMA], "two tools have the name 'f'"),
        ([untyped], r"tool 0 \('untyped'\) has no type for city; annotate it"),
        ([unknown_type], "cannot be described .*Nowhere"),
        ([unnamed], r"takes \*cities"),
        ([unspeakable], "what has a type that no JSON schema describes"),
        ([endless], "refers to itself"),
    ],
)
def test_what_is_wrong_is_named(tools: Any, told: str) -> None:
    with pytest.raises(BadTools, match=told) as caught:
        read_tools(tools)
    assert "\n" not in str(caught.value)


def test_docstrings_of_several_shapes_are_read() -> None:
    assert read_docstring(None) == ("", {})
    assert read_docstring("Do.\n\nArguments:\n  a: one\n    more\n  b:\n    two\nReturns:\n  c: no") == (
        "Do.",
        {"a": "one more", "b": "two"},
    )
