"""Constraints: what they permit is valid, all that is finished validates, and thoughts come first."""

import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pydantic
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gemcut import Gemma, SamplingParams
from gemcut.engine.constraint import (
    Constraint,
    ConstraintOptions,
    Grammar,
    GrammarVocabulary,
    compute_masks,
    lark_grammar,
    pack,
    regex_grammar,
    reply_grammar,
    schema_grammar,
    unpack,
)
from gemcut.errors import BadConstraint
from gemcut.prompt.json_schema import UNWRITTEN
from gemcut.prompt.tokenizer import Tokenizer
from tests.engine.drawing import draw
from tests.engine.schemas import SCHEMAS

NANO = Path(__file__).resolve().parents[2] / "gemcut/nano"
INTEGER = {"type": "integer"}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_folder(NANO)


@pytest.fixture(scope="module")
def vocabulary(tokenizer: Tokenizer) -> GrammarVocabulary:
    return GrammarVocabulary(tokenizer, tokenizer.vocab_size)


@pytest.fixture(scope="module")
def gemma(nano: Path) -> Gemma:
    return Gemma.load(str(nano), device="cpu", dtype="float32")


def constrained(
    vocabulary: GrammarVocabulary, grammar: Grammar | None, think: bool = False, budget: int | None = None
) -> Constraint:
    return Constraint(vocabulary, ConstraintOptions(grammar, think, budget))


def permitted(constraint: Constraint, vocabulary: GrammarVocabulary) -> set[int]:
    packed = compute_masks([constraint], vocabulary.num_words)
    if packed is None:
        return set(range(vocabulary.num_ids))
    return set(unpack(packed, vocabulary.num_ids)[0].nonzero().flatten().tolist())


def validate(text: str, schema: dict[str, Any]) -> None:
    """With decimals, because 0.3 is no multiple of 0.1 in binary floating point."""
    exact = json.loads(json.dumps(schema), parse_float=Decimal)
    jsonschema.Draft202012Validator(
        exact, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    ).validate(json.loads(text, parse_float=Decimal))


def test_there_are_forty_schemas() -> None:
    assert len(SCHEMAS) >= 40


@pytest.mark.parametrize("name", SCHEMAS)
def test_whatever_is_finished_validates(
    name: str, vocabulary: GrammarVocabulary, tokenizer: Tokenizer
) -> None:
    grammar, finished = schema_grammar(SCHEMAS[name]), 0
    for seed in range(20):
        ids = draw(constrained(vocabulary, grammar), vocabulary, tokenizer, seed)
        if ids is not None:
            validate(tokenizer.decode(ids), SCHEMAS[name])
            finished += 1
        if finished == 3:
            return
    assert finished > 0


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_nano_finishes_at_a_high_temperature_validates(name: str, gemma: Gemma) -> None:
    sampling = SamplingParams(temperature=1.5, seed=1, max_tokens=100)
    reply = gemma.reply(f"Make up one: {name}.", schema=SCHEMAS[name], sampling=sampling)
    if reply.finish_reason == "stop":
        validate(reply.text, SCHEMAS[name])


def bounds(low: str, high: str, most: int) -> st.SearchStrategy[dict[str, Any]]:
    """One bound, both or none, in the right order."""
    both = st.tuples(st.integers(0, most), st.integers(0, most)).map(sorted)
    return st.tuples(both, st.sets(st.sampled_from([low, high]))).map(
        lambda drawn: {
            name: value for name, value in zip((low, high), drawn[0], strict=True) if name in drawn[1]
        }
    )


NAMES = st.text('abc"\\ é', min_size=1, max_size=3)
CONSTANT_TEXTS = st.text(max_size=4).filter(lambda text: not UNWRITTEN.search(text))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | CONSTANT_TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
FORMATS = ("date-time", "time", "date", "duration", "email", "ipv4", "ipv6", "uuid", "uri", "hostname")
LEAVES = st.one_of(
    st.sampled_from([{"type": name} for name in ("boolean", "null", "integer", "number")]),
    bounds("minLength", "maxLength", 6).map(lambda b: {"type": "string", **b}),
    st.sampled_from(["^a+b?$", "[0-9]{2}", "^(x|yz)", r"\.$"]).map(
        lambda p: {"type": "string", "pattern": p}
    ),
    st.sampled_from(FORMATS).map(lambda f: {"type": "string", "format": f}),
    bounds("minimum", "maximum", 50).map(lambda b: {"type": "number", **b}),
    bounds("exclusiveMinimum", "maximum", 50).map(
        lambda b: {"type": "integer", **b, **({"maximum": b["maximum"] + 1} if "maximum" in b else {})}
    ),
    st.sampled_from([1, 3, 0.5, 0.01]).map(lambda m: {"type": "number", "multipleOf": m}),
    JSON_VALUES.map(lambda value: {"const": value}),
    st.lists(JSON_VALUES, min_size=1, max_size=3).map(lambda values: {"enum": values}),
    st.lists(st.sampled_from(["string", "null", "integer", "boolean"]), min_size=1, unique=True).map(
        lambda names: {"type": names}
    ),
)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda properties, required, more: {
            "type": "object",
            "properties": properties,
            "required": sorted(required & set(properties)),
            **more,
        },
        st.dictionaries(NAMES, inner, max_size=3),
        st.sets(NAMES, max_size=3),
        st.sampled_from([{}, {"additionalProperties": False}, {"additionalProperties": {"type": "integer"}}]),
    )


RANDOM_SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        objects(inner),
        st.tuples(inner, bounds("minItems", "maxItems", 3)).map(
            lambda drawn: {"type": "array", "items": drawn[0], **drawn[1]}
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"anyOf": parts}),
        inner.map(lambda part: {"allOf": [part]}),
        st.lists(inner, min_size=1, max_size=2).map(
            lambda parts: {"type": "array", "prefixItems": parts, "items": False}
        ),
        inner.map(
            lambda part: {
                "type": "object",
                "patternProperties": {"^k[0-9]$": part},
                "additionalProperties": False,
            }
        ),
        inner.map(
            lambda part: {
                "type": "object",
                "additionalProperties": part,
                "maxProperties": 2,
                "minProperties": 1,
            }
        ),
        inner.map(
            lambda part: (
                {"$defs": {"it": part}, "$ref": "#/$defs/it"} if "$defs" not in json.dumps(part) else part
            )
        ),
    ),
    max_leaves=6,
)


@given(RANDOM_SCHEMAS, st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_random_schemas_hold(schema: dict[str, Any], seed: int) -> None:
    tokenizer = Tokenizer.from_folder(NANO)
    vocabulary = GrammarVocabulary(tokenizer, tokenizer.vocab_size)
    inner = json.dumps(schema)
    if '"$ref"' in inner and "$ref" not in schema:
        return  # its definitions stand elsewhere
    ids = draw(constrained(vocabulary, schema_grammar(schema)), vocabulary, tokenizer, seed, most=150)
    if ids is not None:
        validate(tokenizer.decode(ids), schema)


def test_a_pydantic_model_is_a_schema(vocabulary: GrammarVocabulary, tokenizer: Tokenizer) -> None:
    class Line(pydantic.BaseModel):
        item: str = pydantic.Field(max_length=8)
        amount: int | None

    class Order(pydantic.BaseModel):
        lines: list[Line] = pydantic.Field(max_length=2)
        urgent: bool = False

    made = [draw(constrained(vocabulary, schema_grammar(Order)), vocabulary, tokenizer, s) for s in range(8)]
    for ids in filter(None, made):
        Order.model_validate_json(tokenizer.decode(ids))
    assert any(made)


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "array", "uniqueItems": True}, "the schema has the keyword 'uniqueItems', which cannot"),
        ({"properties": {"a": {"not": {}}}}, "the schema, properties a has the keyword 'not'"),
        ({"anyOf": [{"if": {}}]}, "the schema, anyOf 0 has the keyword 'if'"),
        ({"type": "string", "nullable": True}, "'nullable'"),
        ({"x-guidance": {"lenient": True}}, "'x-guidance'"),
        ({"type": "strin"}, "has type 'strin'; it must be one or several of string"),
        ({"minLength": -1}, "has minLength -1; it must be a whole number"),
        ({"required": "a"}, "has required 'a'; it must be a list of names"),
        ({"items": [{}]}, "items is \\[{}\\]; a schema is a mapping"),
        ({"$ref": "http://x/y"}, "has \\$ref 'http://x/y'; it must be a place in this schema"),
        ({"type": "object", "minProperties": 2}, "minProperties above 1"),
        ({"type": "string", "format": "color"}, "Unknown format: color"),
        ({"type": "string", "pattern": "(?=a)"}, "look-around"),
        ({"type": "integer", "minimum": 5, "maximum": 1}, "minimum \\(5\\) is greater than maximum \\(1\\)"),
        ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, "oneOf"),
        ([], "a schema is a mapping or a pydantic model, not list"),
        ({"default": object()}, "the schema holds what JSON cannot"),
    ],
)
def test_what_cannot_be_enforced_is_named(schema: Any, told: str, vocabulary: GrammarVocabulary) -> None:
    with pytest.raises(BadConstraint, match=told):
        vocabulary.matcher(schema_grammar(schema))


@pytest.mark.parametrize(
    ("grammar", "told"),
    [
        (regex_grammar("a["), "the regular expression cannot be enforced: .*unclosed character class"),
        (regex_grammar("(?!a)b"), "look-around"),
        (lark_grammar("start: nowhere"), "the grammar cannot be enforced: .*nowhere"),
        (lark_grammar("start: <|nothing|>"), "the grammar cannot be enforced"),
    ],
)
def test_a_broken_grammar_is_told(grammar: Grammar, told: str, vocabulary: GrammarVocabulary) -> None:
    with pytest.raises(BadConstraint, match=told):
        vocabulary.matcher(grammar)


def test_two_grammars_at_once_are_refused() -> None:
    with pytest.raises(BadConstraint, match="a schema and a regular expression are given"):
        reply_grammar(INTEGER, "a", None, None)
    with pytest.raises(BadConstraint, match="a grammar and tools are given"):
        reply_grammar(None, None, "start: /a/", [{"name": "f"}])


def test_a_key_written_with_an_escape_is_no_way_around_its_schema(
    vocabulary: GrammarVocabulary, tokenizer: Tokenizer
) -> None:
    """`{"\\u0061": "x"}` was permitted where the property `a` is an integer and others are strings."""
    schema = {"type": "object", "properties": {"a": INTEGER}, "additionalProperties": {"type": "string"}}
    constraint = constrained(vocabulary, schema_grammar(schema))
    for token_id in tokenizer.encode('{"'):
        constraint.advance(token_id)
    constraint.advance(tokenizer.encode("\\")[0])
    assert tokenizer.encode("u")[0] not in permitted(constraint, vocabulary)


@pytest.mark.parametrize(
    "grammar", [schema_grammar(INTEGER), regex_grammar("[a-z ]*"), lark_grammar('start: /[^"]+/')]
)
def test_control_tokens_stand_nowhere_but_at_the_end(
    grammar: Grammar, vocabulary: GrammarVocabulary, tokenizer: Tokenizer
) -> None:
    ends = {tokenizer.special.turn_close, tokenizer.special.eos}
    for seed in range(10):
        constraint = constrained(vocabulary, grammar)
        chance = random.Random(seed)
        for _ in range(20):
            ids = permitted(constraint, vocabulary)
            control = {i for i in ids if tokenizer.is_control(i)}
            assert control == (ends if constraint.accepting else set())
            if not ids - control:
                assert constraint.stopped
                break
            constraint.advance(chance.choice(sorted(ids - control)))


def test_thoughts_come_first_and_are_free(vocabulary: GrammarVocabulary, tokenizer: Tokenizer) -> None:
    special = tokenizer.special
    constraint = constrained(vocabulary, schema_grammar(INTEGER), think=True)
    assert special.channel_open in permitted(constraint, vocabulary)
    constraint.advance(special.channel_open)
    thoughts = permitted(constraint, vocabulary)
    assert {i for i in thoughts if tokenizer.is_control(i)} == {special.channel_close}
    assert len(thoughts) > 1900
    assert not constraint.accepting
    for token_id in [*tokenizer.encode("thought\nlet me {see}\n"), special.channel_close]:
        constraint.advance(token_id)
    after = permitted(constraint, vocabulary)
    assert special.channel_open not in after, "there is one channel of thoughts"
    assert {tokenizer.decode([i]) for i in after} == set("-0123456789")


def test_without_thinking_no_channel_opens(vocabulary: GrammarVocabulary, tokenizer: Tokenizer) -> None:
    constraint = constrained(vocabulary, schema_grammar(INTEGER))
    assert tokenizer.special.channel_open not in permitted(constraint, vocabulary)


def test_a_prompt_that_ends_in_a_thought_is_gone_on_with(
    vocabulary: GrammarVocabulary, tokenizer: Tokenizer
) -> None:
    special = tokenizer.special
    prompt = [special.turn_open, special.channel_open, *tokenizer.encode("thought\n")]
    options = ConstraintOptions(schema_grammar(INTEGER), think=True, max_thought_tokens=2)
    constraint = Constraint(vocabulary, options, prompt)
    for token_id in tokenizer.encode("a") * 2:
        assert len(permitted(constraint, vocabulary)) > 1900
        constraint.advance(token_id)
    assert permitted(constraint, vocabulary) == {special.channel_close}


def test_a_spent_budget_closes_the_channel(vocabulary: GrammarVocabulary, tokenizer: Tokenizer) -> None:
    special = tokenizer.special
    constraint = constrained(vocabulary, None, think=True, budget=3)
    assert not constraint.restricts
    constraint.advance(special.channel_open)
    for token_id in tokenizer.encode("thought")[:1] * 3:
        assert not constraint.restricts
        constraint.advance(token_id)
    assert constraint.forced == (special.channel_close,)
    assert permitted(constraint, vocabulary) == {special.channel_close}
    constraint.advance(special.channel_close)
    assert not constraint.restricts


@given(st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_taking_tokens_back_leaves_no_trace(seed: int) -> None:
    tokenizer = Tokenizer.from_folder(NANO)
    vocabulary = GrammarVocabulary(tokenizer, tokenizer.vocab_size)
    chance = random.Random(seed)
    constraint = constrained(vocabulary, schema_grammar(SCHEMAS["invoice"]), think=True, budget=4)
    masks = [permitted(constraint, vocabulary)]
    taken: list[int] = []
    for _ in range(60):
        if taken and chance.random() < 0.3:
            count = chance.randint(1, len(taken))
            constraint.rollback(count)
            del masks[-count:], taken[-count:]
            assert permitted(constraint, vocabulary) == masks[-1]
        if constraint.stopped:
            break
        taken.append(chance.choice(sorted(masks[-1])))
        constraint.advance(taken[-1])
        masks.append(permitted(constraint, vocabulary))


def test_forced_tokens_are_those_that_the_tokenizer_would_write(
    vocabulary: GrammarVocabulary, tokenizer: Tokenizer
) -> None:
    constraint = constrained(vocabulary, regex_grammar("(yes|no), because of [0-9]+"))
    constraint.advance(tokenizer.encode("no")[0])
    forced = constraint.forced
    assert len(forced) > 1
    assert ", because of ".startswith(tokenizer.decode(forced))
    for token_id in forced:
        assert permitted(constraint, vocabulary) == {token_id}
        constraint.advance(token_id)


def test_masks_of_many_rows_are_those_of_each(vocabulary: GrammarVocabulary) -> None:
    one, other = (
        constrained(vocabulary, schema_grammar(INTEGER)),
        constrained(vocabulary, regex_grammar("x+")),
    )
    packed = compute_masks([one, None, other], vocabulary.num_words)
    assert packed is not None
    rows = unpack(packed, vocabulary.num_ids)
    assert rows[1].all()
    for row, constraint in ((rows[0], one), (rows[2], other)):
        assert set(row.nonzero().flatten().tolist()) == permitted(constraint, vocabulary)
    assert compute_masks([None, None], vocabulary.num_words) is None


@pytest.mark.parametrize("num_ids", [1, 31, 32, 33, 100])
def test_bits_are_packed_and_unpacked(num_ids: int) -> None:
    bits = torch.rand(3, num_ids) < 0.5
    packed = pack(bits)
    assert packed.shape == (3, (num_ids + 31) // 32)
    assert torch.equal(unpack(packed, num_ids), bits)


def test_the_real_vocabulary_is_ready_in_seconds_and_masks_in_milliseconds(shared: Path) -> None:
    real = Tokenizer.from_gguf(shared / "data/gemma-4-vocab.gguf")
    big = GrammarVocabulary(real, 262144)
    for seed in range(3):
        ids = draw(constrained(big, schema_grammar(SCHEMAS["person"])), big, real, seed, most=80)
        if ids is not None:
            validate(real.decode(ids), SCHEMAS["person"])
