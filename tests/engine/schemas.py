"""Schemas of the kinds that real services publish, shortened."""

from typing import Any


def record(required: str = "", **properties: Any) -> dict[str, Any]:
    """An object; `required` names properties, "*" all of them."""
    names = list(properties) if required == "*" else required.split()
    return {"type": "object", "properties": properties, "required": names}


def text(most: int | None = 12, **more: Any) -> dict[str, Any]:
    return {"type": "string", **({} if most is None else {"maxLength": most}), **more}


def choice(*values: Any) -> dict[str, Any]:
    return {"enum": list(values)}


def many(items: Any, most: int = 3, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, "maxItems": most, **more}


INT, NUMBER, BOOL, NULL = ({"type": name} for name in ("integer", "number", "boolean", "null"))
DATE, WHEN = {"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}
MONEY = {"type": "number", "minimum": 0, "multipleOf": 0.01}
POINT = record("*", lat={"type": "number", "minimum": -90, "maximum": 90}, lon={"type": "number"})

SCHEMAS: dict[str, dict[str, Any]] = {
    "invoice": record("*", number=text(), total=MONEY, lines=many(record("*", item=text(), amount=MONEY))),
    "address": record("street city", street=text(), city=text(), zip=text(None, pattern="^[0-9]{5}$")),
    "person": record("*", name=text(), age={"type": "integer", "minimum": 0, "maximum": 150}, member=BOOL),
    "weather query": record(
        "city", city=text(), unit=choice("c", "f"), days={"type": "integer", "minimum": 1}
    ),
    "geo point": record("*", type={"const": "Point"}, coordinates=many(NUMBER, 2, minItems=2)),
    "calendar event": record("title start", title=text(), start=WHEN, end=WHEN, attendees=many(text())),
    "sentiment": record("*", label=choice("good", "bad", "neither"), score={"type": "number", "maximum": 1}),
    "yes or no": {"type": "boolean"},
    "rating": {"type": "integer", "minimum": 1, "maximum": 5},
    "label": {"enum": ["spam", "ham"]},
    "tags": many(text(8), 4, minItems=1),
    "nullable": record("*", note={"type": ["string", "null"], "maxLength": 5}),
    "union": {"anyOf": [INT, text(6), NULL]},
    "reference": {
        "$defs": {"point": POINT},
        **record("*", a={"$ref": "#/$defs/point"}, b={"$ref": "#/$defs/point"}),
    },
    "tree": {
        "definitions": {
            "node": record("name", name=text(4), children=many({"$ref": "#/definitions/node"}, 2))
        },
        "$ref": "#/definitions/node",
    },
    "map of numbers": {"type": "object", "additionalProperties": NUMBER, "maxProperties": 3},
    "headers": {
        "type": "object",
        "patternProperties": {"^X-[a-z]{1,5}$": text(4)},
        "additionalProperties": False,
    },
    "open object": {**record("id", id=INT), "additionalProperties": text(4)},
    "user": record("*", id={"type": "string", "format": "uuid"}, email={"type": "string", "format": "email"}),
    "server": record(
        "host", host={"type": "string", "format": "ipv4"}, port={"type": "integer", "maximum": 65535}
    ),
    "link": record("*", href={"type": "string", "format": "uri"}, rel=text()),
    "shift": record("*", day=DATE, begin={"type": "string", "format": "time"}),
    "pair": {"type": "array", "prefixItems": [text(4), INT], "minItems": 2, "maxItems": 2, "items": False},
    "matrix": many(many(NUMBER, 2), 2),
    "payment": {
        "oneOf": [
            record("*", kind={"const": "card"}, number=text(None, pattern="^[0-9]{4}$")),
            record("*", kind={"const": "cash"}),
        ]
    },
    "all of": {"allOf": [record("a", a=INT), record("b", b=BOOL)]},
    "product": record("sku price", sku=text(None, pattern="^[A-Z]{3}-[0-9]{2,4}$"), price=MONEY, stock=INT),
    "recipe": record(
        "*", name=text(), steps=many(text(20), 3, minItems=1), minutes={"type": "integer", "minimum": 1}
    ),
    "entities": many(record("*", text=text(), kind=choice("person", "place", "thing")), 3),
    "commit message": record(
        "kind subject", kind=choice("fix", "feat", "docs"), subject=text(40), breaking=BOOL
    ),
    "flight": record(
        "*", origin=text(None, pattern="^[A-Z]{3}$"), seats={"type": "integer", "exclusiveMinimum": 0}
    ),
    "quiz": record(
        "*", question=text(20), options=many(text(5), 4, minItems=4), answer={"enum": [0, 1, 2, 3]}
    ),
    "json patch": many(record("op path", op=choice("add", "remove"), path=text(), value={}), 2),
    "colour": text(None, pattern="^#[0-9a-f]{6}$"),
    "version": text(None, pattern=r"^\d+\.\d+\.\d+$"),
    "duration": record("*", length={"type": "string", "format": "duration"}),
    "temperature": {"type": "number", "exclusiveMinimum": -273.15, "maximum": 1000},
    "even": {"type": "integer", "multipleOf": 2},
    "empty": record(),
    "odd keys": record(
        "*", **{'with "quotes"': INT, "back\\slash": BOOL, "ünï": NULL, "a b": choice('"', "\\")}
    ),
    "constant": {"const": {"a": [1, None, "x"], "b": {}}},
    "search": record("query", query=text(20), filters=record(year=INT, language=text(2)), page=INT),
    "log line": record(
        "*", level=choice("info", "warn"), at=WHEN, context={"type": "object", "maxProperties": 2}
    ),
    "short text": text(5, minLength=2),
}
