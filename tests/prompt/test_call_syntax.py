from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemcut.prompt.call_syntax import QUOTE, MalformedCall, Quoted, call_name, format_call, parse_call
from gemcut.prompt.template import ChatTemplate
from tests.prompt.conversations import json_values, keys, names, plain_text
from tests.prompt.conversations import text as any_text

arguments = st.dictionaries(keys, json_values(any_text), max_size=4)


def parts(written: str) -> list[str | Quoted]:
    """A call's text, cut at its quotes."""
    stretches = written.split(QUOTE)
    return [Quoted(stretch) if number % 2 else stretch for number, stretch in enumerate(stretches)]


@given(name=names, given=arguments)
def test_a_call_comes_back_as_it_was(name: str, given: dict[str, Any]) -> None:
    written = format_call(name, given).removeprefix("<|tool_call>").removesuffix("<tool_call|>")
    read_name, read = parse_call(parts(written))
    assert (read_name, read) == (name, given)
    assert str(read) == str({key: read[key] for key in read})
    assert all(type(read[key]) is type(given[key]) for key in given)


@given(name=names, given=st.dictionaries(keys, json_values(plain_text), max_size=4))
def test_a_call_is_written_as_the_template_writes_it(
    nano_template: ChatTemplate, name: str, given: dict[str, Any]
) -> None:
    call = {"type": "function", "function": {"name": name, "arguments": given}}
    rendered = nano_template.render(
        [{"role": "assistant", "tool_calls": [call]}], add_generation_prompt=False
    )
    assert rendered == f"<bos><|turn>model\n{format_call(name, given)}<|tool_response>"


@pytest.mark.parametrize(
    ("written", "name", "wanted"),
    [
        ("call:f{}", "f", {}),
        (' call: get-it \n{ a : 1 , b:[ ] }\n', "get-it", {"a": 1, "b": []}),
        (f"call:f{{a:{QUOTE}}},b:{{[\"'\\{QUOTE}}}", "f", {"a": "},b:{[\"'\\"}),
        (f"call:f{{{QUOTE}a:b{QUOTE}:{{{QUOTE}{QUOTE}:[[null],{{}}]}}}}", "f", {"a:b": {"": [[None], {}]}}),
        ("call:f{a:true,b:false,c:null,d:-0,e:-1.5e3,f:1E2}", "f",
         {"a": True, "b": False, "c": None, "d": 0, "e": -1500.0, "f": 100.0}),
        ("call:f{n:123456789012345678901234567890}", "f", {"n": 123456789012345678901234567890}),
        ("call:a.b/c{ключ:1}", "a.b/c", {"ключ": 1}),
    ],
)  # fmt: skip
def test_calls_are_read(written: str, name: str, wanted: dict[str, Any]) -> None:
    assert parse_call(parts(written)) == (name, wanted)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("", "it begins with '', not with call:NAME"),
        ("f{}", "it begins with 'f'"),
        ("call:{}", "it begins with 'call:'"),
        (f"call:{QUOTE}f{QUOTE}{{}}", "it begins with 'call:'"),
        ("call:f", "it begins with 'call:f'|the end stands where '{'"),
        ("call:f{a:1", "the end stands where '}'"),
        ("call:f{a:1}}", "goes on behind"),
        ("call:f{a:1} please", "goes on behind"),
        ("call:f{a}", "'}' stands where ':'"),
        ("call:f{:1}", "':' stands where a key"),
        ("call:f{a:1,}", "'}' stands where a key"),
        ("call:f{a:1 b:2}", "is no number"),
        ("call:f{a:}", "'' is no number"),
        ("call:f{a:Paris}", "'Paris' is no number, no true, false or null, and not quoted"),
        ('call:f{a:"Paris"}', "not quoted"),
        ("call:f{a:007}", "'007' is no number"),
        ("call:f{a:+1}", "is no number"),
        ("call:f{a:1e999}", "too large"),
        ("call:f{a:" + "9" * 5000 + "}", "too large"),
        ("call:f{a:NaN}", "is no number"),
        (f"call:f{{a:{QUOTE}x{QUOTE}{QUOTE}y{QUOTE}}}", "a string stands where '}'"),
        (f"call:f{{a:x{QUOTE}y{QUOTE}}}", "'x' is no number"),
        ("call:f{a:[1}", "'}' stands where ']'"),
        ("call:f{a:" + "[" * 5000, "nested more than"),
    ],
)
def test_what_is_malformed_is_told(written: str, told: str) -> None:
    with pytest.raises(MalformedCall, match=told):
        parse_call(parts(written))


def test_of_equal_keys_the_last_counts_as_in_json() -> None:
    """A grammar cannot keep free keys apart, and what it permits must be readable."""
    assert parse_call(parts("call:f{a:1,b:2,a:3}")) == ("f", {"a": 3, "b": 2})


def test_a_name_is_known_once_its_arguments_begin() -> None:
    assert call_name("call:get") is None
    assert call_name("call:get{") == "get"
    assert call_name("call:get{a") == "get"
    assert call_name("call: {") is None
    assert call_name("tell:get{") is None
