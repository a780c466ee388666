"""JSON schemas that can be enforced: every keyword is known and checked, and none is passed over.

llguidance passes over names that it does not know, so what it enforces is named here, keyword by keyword.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

import pydantic

from gemcut.errors import BadConstraint
from gemcut.prompt.plain_json import plain_json
from gemcut.prompt.string_terminal import FORMATS

Schema: TypeAlias = Mapping[str, Any] | type[pydantic.BaseModel]

UNWRITTEN = re.compile(r"[\x00-\x07\x0b\x0e-\x1f\x7f]")  # characters of constants
TYPES = ("string", "number", "integer", "boolean", "null", "array", "object")
APPLIED = ("items", "additionalProperties")  # keywords that hold one schema
LISTED = ("anyOf", "oneOf", "allOf", "prefixItems")  # a list of schemas
NAMED = ("properties", "patternProperties", "$defs", "definitions")  # schemas by name
ANNOTATIONS = (
    "title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly",
    "$schema", "$id", "$comment", "discriminator",
)  # fmt: skip


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_type(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(name in TYPES for name in names)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_writable(value: Any) -> bool:
    """Whether llguidance can have a constant written: it loses most control characters."""
    if isinstance(value, Mapping):
        return all(_is_writable(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return all(map(_is_writable, value))
    return not (isinstance(value, str) and UNWRITTEN.search(value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


ASSERTIONS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "type": (_is_type, f"one or several of {', '.join(TYPES)}"),
    "enum": (
        lambda value: isinstance(value, list) and bool(value) and _is_writable(value),
        "a list of values without control characters other than \\n, \\t, \\r, \\b and \\f",
    ),
    "const": (_is_writable, "a value without control characters other than \\n, \\t, \\r, \\b and \\f"),
    "$ref": (
        lambda value: _is_text(value) and value.startswith("#"),
        "a place in this schema, as #/$defs/Name",
    ),
    "required": (_is_names, "a list of names"),
    "minProperties": (_is_count, "a whole number"),
    "maxProperties": (_is_count, "a whole number"),
    "minItems": (_is_count, "a whole number"),
    "maxItems": (_is_count, "a whole number"),
    "minLength": (_is_count, "a whole number"),
    "maxLength": (_is_count, "a whole number"),
    "pattern": (_is_text, "a regular expression"),
    "format": (_is_text, "a name"),
    "minimum": (_is_number, "a number"),
    "maximum": (_is_number, "a number"),
    "exclusiveMinimum": (_is_number, "a number"),
    "exclusiveMaximum": (_is_number, "a number"),
    "multipleOf": (lambda value: _is_number(value) and value > 0, "a number above 0"),
}
ANY_NAMES = {"type": "string"}  # what zod writes as the propertyNames of every record: it says nothing
SUPPORTED = (*ASSERTIONS, *APPLIED, *LISTED, *NAMED)
LISTING = ", ".join(SUPPORTED)


def read_schema(schema: Schema) -> dict[str, Any]:
    """The schema, checked; objects that say nothing of further properties take none.

    schema: a JSON schema or a pydantic model.  Models seldom stop by themselves where any further property
    may follow, so an object with `properties` is closed, unless `additionalProperties` is given or schemas
    are laid over each other.
    Raises BadConstraint, naming the keyword and where it stands.
    """
    if isinstance(schema, type) and issubclass(schema, pydantic.BaseModel):
        name = schema.__name__
        try:
            schema = schema.model_json_schema()
        except pydantic.errors.PydanticUserError as error:
            raise BadConstraint(
                f"the model {name} has no JSON schema ({str(error).splitlines()[0]});"
                " use types that JSON knows"
            ) from error
    if not isinstance(schema, Mapping):
        raise BadConstraint(
            f"a schema is a mapping or a pydantic model, not {type(schema).__name__}; give one of those"
        )
    try:
        read: dict[str, Any] = plain_json(schema)
    except ValueError as error:
        raise BadConstraint(
            f"the schema holds what JSON cannot: {error}; give a plain JSON schema"
        ) from error
    inner = list(check_schema("the schema", read))
    read = _mapped(_mapped(read, _without_any_names), _with_real_days)
    return read if any(_lays_over(part) for part in inner) else _mapped(read, _closed)


def check_schema(where: str, schema: Any, also: Sequence[str] = ()) -> Iterator[Mapping[str, Any]]:
    """The schema and all below it; raises BadConstraint for what cannot be enforced.

    where: how errors name the schema; the path of a keyword is put behind it.  also: further keywords that
    the caller enforces.
    """
    if isinstance(schema, bool):
        return
    if not isinstance(schema, Mapping):
        _fail(where, f"is {schema!r}; a schema is a mapping")
    for keyword, value in schema.items():
        if keyword not in also:
            _check_keyword(where, keyword, value)
    if schema.get("minProperties", 0) > max(1, len(schema.get("required", ()))):
        _fail(where, "has minProperties above 1, which cannot be enforced; name the properties in required")
    yield schema
    for keyword, value in schema.items():
        if keyword in APPLIED:
            yield from check_schema(f"{where}, {keyword}", value, also)
        elif keyword in LISTED:
            for number, part in enumerate(value):
                yield from check_schema(f"{where}, {keyword} {number}", part, also)
        elif keyword in NAMED:
            for name, part in value.items():
                yield from check_schema(f"{where}, {keyword} {name}", part, also)


def _check_keyword(where: str, keyword: str, value: Any) -> None:
    if keyword in ANNOTATIONS or (keyword.startswith("x-") and keyword != "x-guidance"):
        return
    if keyword == "propertyNames" and value == ANY_NAMES:
        return
    if keyword not in SUPPORTED:
        _fail(
            where,
            f"has the keyword {keyword!r}, which cannot be enforced; allowed are {', '.join(SUPPORTED)}",
        )
    if keyword in ASSERTIONS:
        good, wanted = ASSERTIONS[keyword]
        if not good(value):
            _fail(where, f"has {keyword} {value!r}; it must be {wanted}")
    if keyword in LISTED and not (isinstance(value, list) and value):
        _fail(where, f"has {keyword} {value!r}; it must be a list of schemas")
    if keyword in NAMED and not isinstance(value, Mapping):
        _fail(where, f"has {keyword} {value!r}; it must map names to schemas")


def _lays_over(schema: Mapping[str, Any]) -> bool:
    """Whether two schemas must hold at once: allOf, or a union or reference beside other assertions."""
    combining = {"anyOf", "oneOf", "$ref"} & set(schema)
    others = set(schema) & {*ASSERTIONS, *APPLIED, *LISTED, "properties", "patternProperties"} - combining
    return "allOf" in schema or len(combining) > 1 or bool(combining and others)


def _mapped(schema: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """The schema with every schema in it changed, the innermost first."""
    if not isinstance(schema, Mapping):
        return schema
    mapped = dict(schema)
    for keyword, value in schema.items():
        if keyword in APPLIED:
            mapped[keyword] = _mapped(value, change)
        elif keyword in LISTED:
            mapped[keyword] = [_mapped(part, change) for part in value]
        elif keyword in NAMED:
            mapped[keyword] = {name: _mapped(part, change) for name, part in value.items()}
    return change(mapped)


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """An object that says `properties` and nothing of others takes no others."""
    if "properties" not in schema or {"additionalProperties", "patternProperties"} & set(schema):
        return schema
    missing = [name for name in schema.get("required", ()) if name not in schema["properties"]]
    properties = schema["properties"] | dict.fromkeys(missing, True)
    return schema | {"properties": properties, "additionalProperties": False}


def _without_any_names(schema: dict[str, Any]) -> dict[str, Any]:
    return {keyword: value for keyword, value in schema.items() if keyword != "propertyNames"}


def _with_real_days(schema: dict[str, Any]) -> dict[str, Any]:
    """Dates and times as patterns: llguidance has a 29th of February in every year, and 61 seconds."""
    name = schema.get("format")
    if name not in ("date", "time", "date-time"):
        return schema
    if "pattern" in schema:
        _fail("the schema", f"has the format {name!r} beside a pattern; leave one of them out")
    others = {keyword: value for keyword, value in schema.items() if keyword != "format"}
    return others | {"pattern": f"^({FORMATS[name]})$"}


def _fail(where: str, problem: str) -> NoReturn:
    raise BadConstraint(f"{where} {problem}")
