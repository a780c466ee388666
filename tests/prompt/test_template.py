import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemcut.errors import TemplateFailed
from gemcut.prompt.template import ChatTemplate
from tests.prompt.conversations import hostile_text, raw_messages, raw_tools
from tests.prompt.worked_examples import read_worked_examples, render

WEATHER = {
    "type": "function",
    "function": {
        "name": "forecast",
        "description": "Tells the weather.",
        "parameters": {
            "type": "object",
            "properties": {
                "unit": {"type": "string", "enum": ["C", "F"]},
                "place": {"type": "string", "description": "A town."},
                "days": {"type": "array", "items": {"type": "integer"}},
                "at": {"type": "object", "properties": {"hour": {"type": "number"}}, "required": ["hour"]},
                "exact": {"type": "boolean", "nullable": True},
            },
            "required": ["place"],
        },
    },
}
DECLARED = (
    '<|tool>declaration:forecast{description:<|"|>Tells the weather.<|"|>,parameters:{properties:{'
    'at:{properties:{hour:{type:<|"|>NUMBER<|"|>}},required:[<|"|>hour<|"|>],type:<|"|>OBJECT<|"|>},'
    'days:{items:{type:<|"|>INTEGER<|"|>},type:<|"|>ARRAY<|"|>},'
    'exact:{nullable:true,type:<|"|>BOOLEAN<|"|>},'
    'place:{description:<|"|>A town.<|"|>,type:<|"|>STRING<|"|>},'
    'unit:{enum:[<|"|>C<|"|>,<|"|>F<|"|>],type:<|"|>STRING<|"|>}},'
    'required:[<|"|>place<|"|>],type:<|"|>OBJECT<|"|>}}<tool|>'
)
CALL = {
    "role": "assistant",
    "reasoning": "Look it up.",
    "tool_calls": [
        {"id": "1", "function": {"name": "forecast", "arguments": {"place": "Ulm", "days": [1, 2]}}}
    ],
}
CALLED = '<|tool_call>call:forecast{days:[1,2],place:<|"|>Ulm<|"|>}<tool_call|>'

# What the grammar says, written by hand: (title, messages, options, wanted).
GRAMMAR: list[tuple[str, list[dict[str, Any]], dict[str, Any], str]] = [
    (
        "one question",
        [{"role": "user", "content": " Hi \n"}],
        {},
        "<bos><|turn>user\nHi<turn|>\n<|turn>model\n",
    ),
    (
        "instructions, and thinking",
        [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": "Hi"}],
        {"think": True},
        "<bos><|turn>system\n<|think|>\nBe kind.<turn|>\n<|turn>user\nHi<turn|>\n<|turn>model\n",
    ),
    (
        "instructions in parts",
        [{"role": "system", "content": [{"type": "text", "text": "A "}, {"type": "text", "text": "B"}]}],
        {},
        "<bos><|turn>system\nA B <turn|>\n<|turn>model\n",
    ),
    (
        "thoughts of an earlier answer are left out, and so are those within its text",
        [
            {"role": "user", "content": "a"},
            {"role": "assistant", "reasoning": "R", "content": "x<|channel>thought\nT<channel|> y "},
            {"role": "assistant", "content": "z"},
            {"role": "user", "content": "b"},
        ],
        {},
        "<bos><|turn>user\na<turn|>\n<|turn>model\nx yz<turn|>\n<|turn>user\nb<turn|>\n<|turn>model\n",
    ),
    (
        "a tool is declared, and its call waits for the response",
        [{"role": "user", "content": "?"}, CALL],
        {"tools": [WEATHER]},
        f"<bos><|turn>system\n{DECLARED}<turn|>\n<|turn>user\n?<turn|>\n<|turn>model\n"
        f"<|channel>thought\nLook it up.\n<channel|>{CALLED}<|tool_response>",
    ),
    (
        "after the response the thought goes on",
        [{"role": "user", "content": "?"}, CALL, {"role": "tool", "tool_call_id": "1", "content": "dry"}],
        {"think": True},
        "<bos><|turn>system\n<|think|>\n<turn|>\n<|turn>user\n?<turn|>\n<|turn>model\n"
        f"<|channel>thought\nLook it up.\n<channel|>{CALLED}"
        '<|tool_response>response:forecast{value:<|"|>dry<|"|>}<tool_response|>'
        "<|channel>thought\n",
    ),
    (
        "an earlier call keeps its thoughts if asked to",
        [
            {"role": "user", "content": "?"},
            {
                **CALL,
                "tool_responses": [{"name": "forecast", "response": {"rain": 0.5, "Sun": None, "ok": True}}],
            },
            {"role": "assistant", "content": "Maybe."},
            {"role": "user", "content": "!"},
        ],
        {"preserve_thinking": True},
        "<bos><|turn>user\n?<turn|>\n<|turn>model\n<|channel>thought\nLook it up.\n<channel|>"
        f"{CALLED}<|tool_response>response:forecast{{ok:true,rain:0.5,Sun:null}}<tool_response|>Maybe.<turn|>\n"
        "<|turn>user\n!<turn|>\n<|turn>model\n",
    ),
    (
        "media stand where they were",
        [
            {
                "role": "user",
                "content": [{"type": "image"}, {"type": "text", "text": " a "}, {"type": "video"}],
            }
        ],
        {"add_generation_prompt": False},
        "<bos><|turn>user\n<|image|>a<|video|><turn|>\n",
    ),
]


@pytest.mark.parametrize(
    ("messages", "options", "wanted"), [g[1:] for g in GRAMMAR], ids=[g[0] for g in GRAMMAR]
)
def test_nanos_template_follows_the_grammar(
    nano_template: ChatTemplate, messages: list[dict[str, Any]], options: dict[str, Any], wanted: str
) -> None:
    assert nano_template.render(messages, **options) == wanted


@pytest.mark.parametrize(
    ("messages", "options", "wanted"), [g[1:] for g in GRAMMAR], ids=[g[0] for g in GRAMMAR]
)
def test_the_official_template_agrees_with_our_reading_of_the_grammar(
    edge_template: ChatTemplate, messages: list[dict[str, Any]], options: dict[str, Any], wanted: str
) -> None:
    assert edge_template.render(messages, **options) == wanted


def test_every_worked_example_comes_out_exactly(
    shared: Path, nano_template: ChatTemplate, edge_template: ChatTemplate, workstation_template: ChatTemplate
) -> None:
    examples = read_worked_examples(shared)
    assert len(examples) >= 17
    for example in examples:
        for template, wanted in (
            (workstation_template, example.workstation),
            (edge_template, example.edge),
            (nano_template, example.edge),
        ):
            if not wanted.startswith("RAISES"):
                assert render(template, example) == wanted, example.title
                continue
            problem = wanted.split(": ", 1)[1]
            told = problem if template is not nano_template or "attribute" in problem else "are not a mapping"
            with pytest.raises(TemplateFailed) as caught:
                render(template, example)
            assert told in str(caught.value), example.title


def outcome(template: ChatTemplate, messages: list[dict[str, Any]], options: dict[str, Any]) -> str:
    try:
        return template.render(messages, **options)
    except TemplateFailed:
        return "fails"


@settings(max_examples=400, deadline=None)
@given(
    messages=raw_messages(hostile_text),
    tools=raw_tools(hostile_text),
    think=st.booleans(),
    add_generation_prompt=st.booleans(),
    preserve_thinking=st.booleans(),
)
def test_nanos_template_renders_what_the_official_edge_one_renders(
    nano_template: ChatTemplate, edge_template: ChatTemplate, messages: list[dict[str, Any]], **options: Any
) -> None:
    assert outcome(nano_template, messages, options) == outcome(edge_template, messages, options)


def test_a_folder_without_a_template_file_may_have_it_in_its_settings(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ bos_token }}!"}))
    assert ChatTemplate.from_folder(tmp_path).render([]) == "<bos>!"


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "has no chat template"),
        ({"tokenizer_config.json": b"{}"}, "has no chat template"),
        ({"tokenizer_config.json": b"[]"}, "is no JSON object"),
        ({"tokenizer_config.json": b"{"}, "is no JSON object"),
        ({"chat_template.jinja": b"\xff"}, "cannot be read"),
        ({"chat_template.jinja": b"{% if %}"}, "does not compile"),
    ],
)
def test_a_missing_or_damaged_template_is_named(tmp_path: Path, files: dict[str, bytes], told: str) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(TemplateFailed, match=told) as caught:
        ChatTemplate.from_folder(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("{{ raise_exception('no\nway') }}", "no way"),
        ("{{ messages.nothing.at_all }}", "no attribute 'nothing'"),
        ("{{ messages.append(1) }}", "not safely callable|unsafe"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
    ],
)
def test_a_template_that_fails_or_breaks_out_is_one_line(source: str, told: str) -> None:
    with pytest.raises(TemplateFailed, match=told) as caught:
        ChatTemplate(source).render([{"role": "user", "content": "x"}])
    assert "\n" not in str(caught.value)


def test_templates_have_what_transformers_gives_them() -> None:
    source = "{% for m in messages %}{{ m | tojson }}{% break %}{% endfor %}{{ strftime_now('%Y') | length }}"
    assert ChatTemplate(source).render([{"a": "<é>"}, {}]) == '{"a": "<é>"}4'


def test_transformers_renders_nanos_template_alike(nano_template: ChatTemplate) -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    for title, messages, options, wanted in GRAMMAR:
        theirs = {key: value for key, value in options.items() if key not in ("think", "tools")}
        theirs = {"add_generation_prompt": True, "bos_token": "<bos>"} | theirs
        rendered, _ = render_jinja_template(
            [messages],
            tools=options.get("tools"),
            chat_template=nano_template.source,
            enable_thinking=options.get("think", False),
            **theirs,
        )
        assert rendered == [wanted], title
