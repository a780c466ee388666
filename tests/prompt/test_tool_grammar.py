"""The grammar of calls: whatever it permits parses and follows the declaration."""

from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest

from gemcut import Gemma, SamplingParams
from gemcut.engine.constraint import Constraint, ConstraintOptions, GrammarVocabulary, reply_grammar
from gemcut.errors import BadConstraint
from gemcut.prompt.call_syntax import format_call
from gemcut.prompt.messages import ToolCall
from gemcut.prompt.parse import ReplyParser, ToolCallMalformed, ToolCallParsed
from gemcut.prompt.tokenizer import Tokenizer
from gemcut.prompt.tool_grammar import FREE_CALLS, CallRules, tool_grammar
from gemcut.prompt.tools import Tools, tool_parameters
from tests.engine.drawing import draw

NANO = Path(__file__).resolve().parents[2] / "gemcut/nano"


def get_weather(
    city: str, days: int = 1, unit: Literal["c", "f"] = "c", at: dict[str, int] | None = None
) -> str:
    """The weather.

    Args:
        city: Its name.
    """
    return city


def pay(amount: float, to: list[str], note: int | str | None = None) -> str:
    """Pays."""
    return f"{amount} {to} {note}"


BOOK = {
    "name": "book-table",
    "parameters": {
        "type": "object",
        "properties": {
            "guests": {"type": "integer", "minimum": 1, "maximum": 12},
            "who": {
                "type": "object",
                "properties": {"name": {"type": "string", "maxLength": 9}, "vip": {"type": "boolean"}},
                "required": ["name"],
            },
            "at": {"type": "string", "format": "date-time"},
            "code": {"type": "string", "pattern": "^[A-Z]{2,3}(-[0-9]+)?$"},
            "seats": {
                "type": "array",
                "items": {"enum": ['a "b"', "{c}", "d,e", 7, None]},
                "minItems": 1,
                "maxItems": 3,
            },
            "extra": {},
            "Point": {"type": "array", "prefixItems": [{"type": "number"}] * 2, "minItems": 2, "maxItems": 2},
        },
        "required": ["guests", "who", "seats"],
    },
}
TOOLS: Tools = [get_weather, pay, BOOK, {"name": "noop"}]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_folder(NANO)


@pytest.fixture(scope="module")
def vocabulary(tokenizer: Tokenizer) -> GrammarVocabulary:
    return GrammarVocabulary(tokenizer, tokenizer.vocab_size)


def constrained(
    vocabulary: GrammarVocabulary, tools: Tools, schema: Any = None, rules: CallRules = FREE_CALLS
) -> Constraint:
    grammar = reply_grammar(schema, None, None, tools, rules)
    return Constraint(vocabulary, ConstraintOptions(grammar, False, None))


def takes(
    vocabulary: GrammarVocabulary,
    tokenizer: Tokenizer,
    tools: Tools,
    reply: str,
    rules: CallRules = FREE_CALLS,
) -> bool:
    """Whether the whole reply, control tokens written out, is permitted."""
    constraint = constrained(vocabulary, tools, rules=rules)
    try:
        for token_id in tokenizer.encode(reply, special=True):
            constraint.advance(token_id)
    except BadConstraint:
        return False
    return constraint.accepting


def check(calls: list[ToolCall]) -> None:
    declared = tool_parameters(TOOLS)
    for call in calls:
        schema = declared[call.name] or {"maxProperties": 0}
        jsonschema.Draft202012Validator(schema).validate(dict(call.arguments))


def test_calls_drawn_wildly_parse_and_follow_the_declaration(
    vocabulary: GrammarVocabulary, tokenizer: Tokenizer
) -> None:
    names = set()
    for seed in range(60):
        constraint, start = constrained(vocabulary, TOOLS), [tokenizer.special.call_open]
        ids = draw(constraint, vocabulary, tokenizer, seed, 250, start)
        if ids is None:
            continue
        assert ids[-1] == tokenizer.special.response_open
        parser = ReplyParser(tokenizer)
        events = [event for token_id in ids for event in parser.push(token_id)]
        assert not [event for event in events if isinstance(event, ToolCallMalformed)]
        calls = [event.call for event in events if isinstance(event, ToolCallParsed)]
        check(calls)
        names |= {call.name for call in calls}
    assert names == {"get_weather", "pay", "book-table", "noop"}


def test_nano_calls_at_a_high_temperature_as_declared(nano: Path) -> None:
    gemma = Gemma.load(str(nano), device="cpu", dtype="float32")
    for seed in range(3):
        sampling = SamplingParams(temperature=1.5, seed=seed, max_tokens=60)
        reply = gemma.reply("What is the weather in Lisbon?", tools=TOOLS, sampling=sampling)
        check(list(reply.tool_calls))
        assert reply.finish_reason == "length" or not reply.malformed_calls


@pytest.mark.parametrize(
    ("name", "arguments", "good"),
    [
        ("noop", {}, True),
        ("noop", {"a": 1}, False),
        ("nothing", {}, False),
        ("get_weather", {"city": 'say "hi" {now}, a:b'}, True),
        ("get_weather", {"city": "Łódź 你好", "days": 3, "unit": "f"}, True),
        ("get_weather", {"days": 3}, False),
        ("get_weather", {"city": 3}, False),
        ("get_weather", {"city": "x", "days": 1.5}, False),
        ("get_weather", {"city": "x", "unit": "k"}, False),
        ("get_weather", {"city": "x", "at": {"a": 1, "b": 2}}, True),
        ("get_weather", {"city": "x", "at": {"a": "b"}}, False),
        ("get_weather", {"city": "x", "at": None}, True),
        ("pay", {"amount": 12345678901234567, "to": []}, True),
        ("pay", {"amount": -0.125, "to": ["a", "b"], "note": 3}, True),
        ("pay", {"amount": 1, "to": [1]}, False),
        ("pay", {"amount": 1, "to": [], "note": 1.5}, False),
        ("book-table", {"guests": 2, "who": {"name": "A"}, "seats": ["d,e", 7, None]}, True),
        ("book-table", {"guests": 2, "who": {"name": "A"}, "seats": ["{c}"], "Point": [1.5, 2]}, True),
        ("book-table", {"guests": 2, "who": {"name": "A"}, "seats": ["{c}"], "Point": [1.5]}, False),
        ("book-table", {"guests": 13, "who": {"name": "A"}, "seats": ["{c}"]}, False),
        ("book-table", {"guests": 2, "who": {"vip": True}, "seats": ["{c}"]}, False),
        ("book-table", {"guests": 2, "who": {"name": "A"}, "seats": []}, False),
        ("book-table", {"guests": 2, "who": {"name": "A"}, "seats": [7], "at": "2028-02-29T10:00:00Z"}, True),
        (
            "book-table",
            {"guests": 2, "who": {"name": "A"}, "seats": [7], "at": "2027-02-29T10:00:00Z"},
            False,
        ),
        ("book-table", {"guests": 2, "who": {"name": "A"}, "seats": [7], "code": "AB-12"}, True),
        ("book-table", {"guests": 2, "who": {"name": "A"}, "seats": [7], "code": "xAB-12"}, False),
        (
            "book-table",
            {"guests": 2, "who": {"name": "A"}, "seats": [7], "extra": [{"a": [True]}, "x"]},
            True,
        ),
    ],
)
def test_only_declared_calls_are_permitted(
    name: str, arguments: Any, good: bool, vocabulary: GrammarVocabulary, tokenizer: Tokenizer
) -> None:
    reply = format_call(name, arguments) + "<|tool_response>"
    assert takes(vocabulary, tokenizer, TOOLS, reply) is good


@pytest.mark.parametrize(
    ("reply", "good"),
    [
        ("just text", True),
        ("", True),
        ("text first" + format_call("noop", {}) + "<|tool_response>", True),
        (format_call("noop", {}) + format_call("noop", {}) + "<|tool_response>", True),
        (format_call("noop", {}) + "text behind", False),
        (format_call("noop", {}), False),
        ("text<|tool_response>", False),
        ("text<|turn>", False),
        ("<|channel>thought", False),
    ],
)
def test_text_may_stand_before_calls_and_a_response_follows_them(
    reply: str, good: bool, vocabulary: GrammarVocabulary, tokenizer: Tokenizer
) -> None:
    assert takes(vocabulary, tokenizer, TOOLS, reply) is good


NOOP, PAY = format_call("noop", {}), format_call("pay", {"amount": 1, "to": []})
END = "<|tool_response>"


@pytest.mark.parametrize(
    ("rules", "good", "bad"),
    [
        (CallRules(most=0), ["text", ""], [NOOP + END, "text" + NOOP + END]),
        (CallRules(most=1), ["text", NOOP + END, "text" + PAY + END], [NOOP + NOOP + END]),
        (CallRules(required=True), [NOOP + END, NOOP + PAY + END], ["text", "", "text" + NOOP + END]),
        (CallRules(required=True, most=1), [PAY + END], [NOOP + NOOP + END, ""]),
        (CallRules(only=("pay",)), ["text", PAY + PAY + END], [NOOP + END]),
        (CallRules(required=True, most=1, only=("noop",)), [NOOP + END], [PAY + END, "text"]),
    ],
)
def test_rules_say_how_many_calls_and_of_which_tools(
    rules: CallRules,
    good: list[str],
    bad: list[str],
    vocabulary: GrammarVocabulary,
    tokenizer: Tokenizer,
) -> None:
    for reply in good:
        assert takes(vocabulary, tokenizer, TOOLS, reply, rules), reply
    for reply in bad:
        assert not takes(vocabulary, tokenizer, TOOLS, reply, rules), reply


def test_rules_that_nothing_can_keep_are_refused() -> None:
    with pytest.raises(BadConstraint, match="no tools that calls are held to"):
        reply_grammar(None, None, None, None, CallRules(required=True))
    with pytest.raises(BadConstraint, match="a call of 'fly' is asked for and the tools are get_weather"):
        reply_grammar(None, None, None, TOOLS, CallRules(only=("fly",)))


def test_where_no_calls_may_come_a_text_may_have_any_grammar() -> None:
    assert reply_grammar(None, "[0-9]+", None, TOOLS, CallRules(most=0)) == reply_grammar(
        None, "[0-9]+", None, None
    )


def test_with_a_schema_the_reply_is_json_or_calls(
    vocabulary: GrammarVocabulary, tokenizer: Tokenizer
) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    for reply, good in (
        ('{"a": 1}', True),
        (format_call("noop", {}) + "<|tool_response>", True),
        ("text", False),
        ('{"a": 1}' + format_call("noop", {}), False),
    ):
        constraint, refused = constrained(vocabulary, TOOLS, schema), False
        for token_id in tokenizer.encode(reply, special=True):
            try:
                constraint.advance(token_id)
            except BadConstraint:
                refused = True
                break
        assert (not refused and constraint.accepting) is good, reply


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        (
            {"a": {"type": "array", "uniqueItems": True}},
            "tool 'f', properties a has the keyword 'uniqueItems'",
        ),
        (
            {"a": {"type": "object", "patternProperties": {}}},
            "'patternProperties', which no grammar of calls",
        ),
        ({"a:b": {}}, "has the property 'a:b', which a call cannot hold"),
        (
            {"a": {"type": "string", "format": "color"}},
            "tool 'f', a has the format 'color'; allowed are date",
        ),
        ({"a": {"type": "string", "pattern": "^a|b$"}}, "choice outside of parentheses"),
        ({"a": {"oneOf": [{"type": "integer"}, {"type": "number"}]}}, "oneOf whose parts may hold at once"),
        ({"a": {"oneOf": [{"const": str(n)} for n in range(301)]}}, "oneOf of 301 parts, and 300 are"),
        ({"a": {"type": "integer", "enum": ["x"]}}, "no value among \\['x'\\] of type"),
        ({"a": {"minLength": 3, "maxLength": 1}}, "minLength 3 above maxLength 1"),
        ({"a": False}, "tool 'f', a permits no value"),
    ],
)
def test_what_no_call_can_hold_is_named(properties: Any, told: str) -> None:
    with pytest.raises(BadConstraint, match=told):
        tool_grammar({"f": {"type": "object", "properties": properties}})
