"""JSON schemas in the words that chat templates know.

Templates print description, type, enum, items, properties, required and nullable. They know no references
and no unions, and print an empty type for them; so references are written out, a union with null becomes
`nullable`, and other unions are told in the description.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from gemcut.errors import BadTools

MOST_SCHEMAS = 10_000  # within one tool: references that double may ask for any number
UNIONS = ("anyOf", "oneOf", "allOf")


def plain_schema(where: str, schema: Any) -> dict[str, Any]:
    """The schema, rewritten; what needs no rewriting stays as it is.

    where: how errors name the schema.  Raises BadTools for references that lead nowhere or to themselves.
    """
    return _rewrite(where, schema, unite=True)


def written_out(where: str, schema: Any) -> dict[str, Any]:
    """The schema with its references written out and its unions kept, as a grammar needs it.

    Raises BadTools as `plain_schema` does.
    """
    return _rewrite(where, schema, unite=False)


def _rewrite(where: str, schema: Any, unite: bool) -> dict[str, Any]:
    if not isinstance(schema, Mapping):
        raise BadTools(f"{where} has a schema of type {type(schema).__name__}; it must be a mapping")
    outer = {key: value for key, value in schema.items() if key not in ("$defs", "definitions")}
    rewritten: dict[str, Any] = _Rewriter(where, schema, unite).rewrite(outer, ())
    return rewritten


def tidy_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema that pydantic made, without titles and rules for other keys, and with all choices told."""
    tidy: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            tidy[key] = {name: tidy_schema(inner) for name, inner in value.items()}
        elif key in UNIONS:
            tidy[key] = [tidy_schema(inner) for inner in value]
        elif key == "items":
            tidy[key] = tidy_schema(value)
        elif key == "const":
            tidy["enum"] = [value]
        elif key not in ("title", "additionalProperties"):
            tidy[key] = value
    if "enum" in tidy and tidy.get("type") != "string":  # templates print the choices of strings only
        tidy["description"] = _told(tidy, tidy["enum"], ", ")
    return tidy


class _Rewriter:
    """One schema with its definitions.

    unite: whether unions become what templates can print.
    """

    def __init__(self, where: str, schema: Mapping[str, Any], unite: bool) -> None:
        self._where = where
        self._unite = unite
        self._left = MOST_SCHEMAS
        self._definitions: dict[str, Any] = {}
        for place in ("$defs", "definitions"):
            definitions = schema.get(place, {})
            if not isinstance(definitions, Mapping):
                self._fail(f"has {place} of type {type(definitions).__name__}; it must be a mapping")
            self._definitions |= {f"#/{place}/{name}": inner for name, inner in definitions.items()}

    def rewrite(self, schema: Any, within: tuple[str, ...]) -> Any:
        """One schema and those below it.  within: the references that led here."""
        if not isinstance(schema, Mapping):  # true and false are schemas too; templates make nothing of them
            return schema
        self._left -= 1
        if self._left < 0:
            self._fail(f"has more than {MOST_SCHEMAS} schemas within it once its references are written out")
        if "$ref" in schema:
            return self._follow(schema, within)
        plain = dict(schema)
        if isinstance(plain.get("properties"), Mapping):
            plain["properties"] = {k: self.rewrite(v, within) for k, v in plain["properties"].items()}
        for key in ("items", "additionalProperties"):
            if key in plain and (key == "items" or not self._unite):
                plain[key] = self.rewrite(plain[key], within)
        for key in UNIONS:
            if key in plain:
                parts = plain.pop(key)
                if not isinstance(parts, list) or not all(isinstance(part, Mapping) for part in parts):
                    self._fail(f"has {key} that is no list of schemas")
                parts = [self.rewrite(part, within) for part in parts]
                if key == "allOf":
                    plain = _merge(parts, plain)
                else:
                    plain = _unite(parts, plain) if self._unite else {**plain, key: parts}
        return plain

    def _follow(self, schema: Mapping[str, Any], within: tuple[str, ...]) -> Any:
        reference = schema["$ref"]
        if reference in within:
            self._fail(f"refers to itself through {reference!r}; a tool's schema must end somewhere")
        target = self._definitions.get(reference) if isinstance(reference, str) else None
        if not isinstance(target, Mapping):
            self._fail(f"refers to {reference!r}, which is no schema in its $defs; write the schema out")
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return self.rewrite({**target, **beside}, (*within, reference))

    def _fail(self, problem: str) -> NoReturn:
        raise BadTools(f"{self._where} {problem}")


def _merge(parts: Sequence[Mapping[str, Any]], beside: Mapping[str, Any]) -> dict[str, Any]:
    """allOf: the parts laid over each other, what stands beside them on top."""
    merged: dict[str, Any] = {}
    for part in (*parts, beside):
        for key, value in part.items():
            both_map = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
            merged[key] = {**merged[key], **value} if both_map else value
    return merged


def _unite(parts: Sequence[Mapping[str, Any]], beside: Mapping[str, Any]) -> dict[str, Any]:
    """anyOf, oneOf: one alternative beside null as nullable; several by their types, and told in words."""
    real = [part for part in parts if part.get("type") != "null"]
    nullable = {"nullable": True} if len(real) < len(parts) else {}
    if len(real) == 1:
        return {**real[0], **beside, **nullable}
    types = list(dict.fromkeys(part["type"] for part in real if isinstance(part.get("type"), str)))
    united = {**beside, **nullable, "type": types[0] if len(types) == 1 else types}
    if any(set(part) != {"type"} for part in real):
        united["description"] = _told(beside, real, " or ")
    return united


def _told(schema: Mapping[str, Any], choices: Sequence[Any], between: str) -> str:
    """The description, with the choices behind it."""
    listed = between.join(json.dumps(choice, ensure_ascii=False) for choice in choices)
    return f"{schema.get('description', '')} One of: {listed}".strip()
