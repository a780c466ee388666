"""The grammar of calls of declared tools, in Gemma's own syntax, as Lark text for llguidance.

    start: TEXT calls?
    calls: call+ <|tool_response>
    call:  <|tool_call> "call:" (tool | tool …) <tool_call|>
    tool:  "get_weather" "{" "city:" <|"|> /…/ <|"|> ",days:" /…/ "}"

Keys are bare and sorted as the chat template sorts them, every required one is there, and strings stand
between quote tokens, so nothing in them needs an escape.  Objects with declared properties take no others;
where anything may stand, values nest up to four deep.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NoReturn

from gemcut.errors import BadConstraint
from gemcut.prompt.call_syntax import QUOTE
from gemcut.prompt.json_schema import check_schema
from gemcut.prompt.string_terminal import string_terminal

FREE_DEPTH = 4  # how deep values nest of which the schema says nothing
MOST_PARTS = 300  # of a oneOf: each is compared with each
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
SCALARS = {"boolean": '"true" | "false"', "null": '"null"'}
TERMINALS = r"""
TEXT: /(?s:.*)/
KEY: /[A-Za-z_][A-Za-z0-9_-]{0,63}/
INTEGER: /-?(0|[1-9][0-9]{0,30})/
NUMBER: /-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,17})?([eE][+-]?[0-9]{1,2})?/
"""


@dataclass(frozen=True)
class CallRules:
    """Which calls a reply may have.

    required: it consists of calls, at least one.  most: how many; None for any number.
    only: of which tools; None for all that are declared.
    """

    required: bool = False
    most: int | None = None
    only: tuple[str, ...] | None = None


FREE_CALLS = CallRules()


def tool_grammar(parameters: Mapping[str, Any], answer: str = "TEXT", which: CallRules = FREE_CALLS) -> str:
    """Lark text: an answer, then calls of these tools, or either alone.

    parameters: the JSON schema of each tool's arguments by the tool's name, references written out.
    answer: the Lark rule's body for text that is no call; where it is not TEXT, calls come instead of it.
    Raises BadConstraint, naming the tool and the keyword, for what no grammar of calls can hold.
    """
    if which.most == 0:
        return f"start: {answer}{TERMINALS}"
    rules = _Rules()
    tools = [
        rules.add(f"{_literal_text(name)} {rules.arguments(name, parameters[name])}")
        for name in _callable(parameters, which.only)
    ]
    lines = [
        f"start: {_start(answer, which.required)}",
        f"calls: call{'+' if which.most is None else f'{{1,{which.most}}}'} <|tool_response>",
        f'call: <|tool_call> "call:" ({" | ".join(tools)}) <tool_call|>',
        *([] if answer == "TEXT" or which.required else [f"answer: {answer}"]),
        *rules.lines,
    ]
    return "\n".join(lines) + TERMINALS


def _start(answer: str, required: bool) -> str:
    if required:
        return "calls"
    return "TEXT calls?" if answer == "TEXT" else "answer | calls"


def _callable(parameters: Mapping[str, Any], only: Sequence[str] | None) -> Sequence[str]:
    """The names of the tools that may be called."""
    if only is None:
        return tuple(parameters)
    if unknown := [name for name in only if name not in parameters]:
        raise BadConstraint(
            f"a call of {unknown[0]!r} is asked for and the tools are {', '.join(parameters)};"
            " name one of them"
        )
    return only


class _Rules:
    """Lark rules as they are needed; equal ones are written once."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    @property
    def lines(self) -> list[str]:
        return [f"{name}: {body}" for body, name in self._names.items()]

    def add(self, body: str) -> str:
        """The name of the rule with this body."""
        return self._names.setdefault(body, f"rule_{len(self._names)}")

    def arguments(self, name: str, schema: Any) -> str:
        """The rule of a tool's arguments, a map."""
        where = f"tool {name!r}"
        if not name or set(name) & set("{}"):
            _fail(where, "has a name that cannot be called; take the braces out of it")
        if not schema:
            return self.add('"{" "}"')
        for part in check_schema(where, schema, also=("nullable",)):
            if held := {"patternProperties", "minProperties", "maxProperties", "allOf", "$ref"} & set(part):
                _fail(where, f"has the keyword {min(held)!r}, which no grammar of calls can hold; {REMEDY}")
        return self._object(where, {"properties": {}, **schema})

    def value(self, where: str, schema: Any) -> str:
        """The rule of a value."""
        if schema is False:
            _fail(where, "permits no value; leave it out")
        if schema is True:
            return self._free(FREE_DEPTH)
        union = "anyOf" if "anyOf" in schema else "oneOf"
        if union in schema:
            beside = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
            parts = [{**beside, **part} if isinstance(part, Mapping) else part for part in schema[union]]
            if union == "oneOf" and len(parts) > MOST_PARTS:
                _fail(where, f"has oneOf of {len(parts)} parts, and {MOST_PARTS} are the most; write anyOf")
            if union == "oneOf" and not all(_apart(a, b) for a, b in combinations(parts, 2)):
                _fail(where, f"has oneOf whose parts may hold at once; write anyOf; {REMEDY}")
            return self.add(" | ".join(self.value(where, part) for part in parts))
        choices = self._choices(where, schema)
        return self.add(" | ".join([*choices, *(['"null"'] if schema.get("nullable") is True else [])]))

    def _choices(self, where: str, schema: Mapping[str, Any]) -> list[str]:
        """What a value may be: one rule or expression for each type."""
        types = _types(schema)
        if "const" in schema or "enum" in schema:
            values = [schema["const"]] if "const" in schema else schema["enum"]
            fitting = [value for value in values if types is None or any(_is(value, name) for name in types)]
            if not fitting:
                _fail(where, f"has no value among {values!r} of type {types}; correct one of them")
            return [_literal(where, value) for value in fitting]
        if types is None:
            return [self._free(FREE_DEPTH)]
        return [self._of_type(where, name, schema) for name in types]

    def _of_type(self, where: str, name: str, schema: Mapping[str, Any]) -> str:
        if name == "object":
            if "properties" in schema:
                return self._object(where, schema)
            if schema.get("required"):
                _fail(
                    where,
                    f"requires {schema['required'][0]!r} and does not describe it; add it to properties",
                )
            return self._map(
                self.value(f"{where}, additionalProperties", schema.get("additionalProperties", True))
            )
        if name == "array":
            return self._array(where, schema)
        if name == "string":
            return f"{QUOTE} {string_terminal(where, schema)} {QUOTE}"
        if name in SCALARS:
            return SCALARS[name]
        bounds = {keyword: schema[keyword] for keyword in BOUNDS if keyword in schema}
        return self.add(f"%json {json.dumps({'type': name, **bounds})}") if bounds else name.upper()

    def _object(self, where: str, schema: Mapping[str, Any]) -> str:
        """`{` the members that are there, sorted, commas between them `}`."""
        properties, required = schema["properties"], set(schema.get("required", ()))
        if unknown := sorted(required - set(properties)):
            _fail(where, f"requires {unknown[0]!r} and does not describe it; add it to properties")
        names = sorted(properties, key=str.lower)
        members = [
            self.add(f"{_key(where, name)} {self.value(f'{where}, {name}', properties[name])}")
            for name in names
        ]
        behind: list[str] = [""]  # what may follow behind a member, from the last member back
        for name, member in zip(reversed(names), reversed(members), strict=True):
            one = f'"," {member}' if name in required else f'("," {member})?'
            behind.append(self.add(f"{one} {behind[-1]}".strip()))
        behind.reverse()
        firsts = []
        for place, (name, member) in enumerate(zip(names, members, strict=True)):
            firsts.append(f"{member} {behind[place + 1]}".strip())
            if name in required:
                break
        inner = f"({' | '.join(firsts)}){'' if required else '?'}" if firsts else ""
        return self.add(f'"{{" {inner} "}}"')

    def _array(self, where: str, schema: Mapping[str, Any]) -> str:
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        if "prefixItems" in schema:
            items = [self.value(f"{where}, item {i}", part) for i, part in enumerate(schema["prefixItems"])]
            if not least == most == len(items):
                _fail(where, f"has prefixItems; minItems and maxItems must be {len(items)} then; {REMEDY}")
            return self.add('"[" ' + ' "," '.join(items) + ' "]"')
        if most is not None and most < least:
            _fail(where, f"has minItems {least} above maxItems {most}; correct one of them")
        if most == 0:
            return '"[" "]"'
        item = self.value(f"{where}, items", schema.get("items", True))
        times = f"{{{max(0, least - 1)},{'' if most is None else most - 1}}}"
        some = f'{item} ("," {item}){times}'
        return self.add(f'"[" {some} "]"' if least else f'"[" ({some})? "]"')

    def _map(self, value: str) -> str:
        entry = self.add(f'KEY ":" {value}')
        return self.add(f'"{{" ({entry} ("," {entry})*)? "}}"')

    def _free(self, depth: int) -> str:
        """Any value, with so many levels below it."""
        kinds = [f"{QUOTE} TEXT {QUOTE}", "NUMBER", *SCALARS.values()]
        if depth:
            inner = self._free(depth - 1)
            kinds += [self._map(inner), f'"[" ({inner} ("," {inner})*)? "]"']
        return self.add(" | ".join(kinds))


REMEDY = "change it, or let calls be free with constrain_tools=False"


def _types(schema: Mapping[str, Any]) -> list[str] | None:
    """The types of a schema; those that its keywords speak of where it names none; None for any."""
    if "type" in schema:
        return schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if "properties" in schema or "additionalProperties" in schema:
        return ["object"]
    if "items" in schema or "prefixItems" in schema:
        return ["array"]
    if {"pattern", "format", "minLength", "maxLength"} & set(schema):
        return ["string"]
    return ["number"] if set(BOUNDS) & set(schema) else None


def _is(value: Any, name: str) -> bool:
    """Whether a value is of a JSON type."""
    kinds: dict[str, tuple[type, ...]] = {
        "string": (str,), "number": (int, float), "integer": (int,), "boolean": (bool,),
        "null": (type(None),), "array": (list,), "object": (dict,),
    }  # fmt: skip
    return isinstance(value, kinds[name]) and isinstance(value, bool) == (name == "boolean")


def _apart(one: Any, other: Any) -> bool:
    """Whether no value follows both: other types, or a required property with other values."""
    first, second = _types(one), _types(other)
    if first is None or second is None:
        return False
    wide = [{"number" if name == "integer" else name for name in types} for types in (first, second)]
    if not wide[0] & wide[1]:
        return True
    if first != ["object"] or second != ["object"]:
        return False
    shared = set(one.get("required", ())) & set(other.get("required", ()))
    fixed = [(_fixed(one["properties"].get(key)), _fixed(other["properties"].get(key))) for key in shared]
    return any(a and b and not set(a) & set(b) for a, b in fixed)


def _fixed(schema: Any) -> Sequence[str]:
    """The only values of a property, where they are strings."""
    values = [schema["const"]] if "const" in (schema or {}) else (schema or {}).get("enum", [])
    return values if all(isinstance(value, str) for value in values) else []


def _literal(where: str, value: Any) -> str:
    """A value as Lark: the one text that it has in calls."""
    if isinstance(value, str):
        return f"{QUOTE} {_literal_text(value)} {QUOTE}" if value else f"{QUOTE} {QUOTE}"
    if isinstance(value, list):
        return '"[" ' + ' "," '.join(_literal(where, item) for item in value) + ' "]"'
    if isinstance(value, Mapping):
        names = sorted(value, key=str.lower)
        entries = [f"{_key(where, name)} {_literal(where, value[name])}" for name in names]
        return '"{" ' + ' "," '.join(entries) + ' "}"'
    return f'"{json.dumps(value)}"'


def _literal_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _key(where: str, name: str) -> str:
    if not name or set(name) & set("{}[],:") or name != name.strip():
        _fail(
            where, f"has the property {name!r}, which a call cannot hold as a bare key; rename it; {REMEDY}"
        )
    return _literal_text(f"{name}:")


def _fail(where: str, problem: str) -> NoReturn:
    raise BadConstraint(f"{where} {problem}")
