from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemcut.prompt.channels import open_tail
from gemcut.prompt.messages import ToolCall
from gemcut.prompt.parse import (
    Event,
    ReplyParser,
    TextDelta,
    ThoughtDelta,
    ToolCallMalformed,
    ToolCallParsed,
    ToolCallStarted,
)
from gemcut.prompt.tokenizer import Tokenizer


def events(
    tokenizer: Tokenizer, reply: str, prompt: str = "<bos><|turn>user\nx<turn|>\n<|turn>model\n"
) -> list[Event]:
    """The events of a reply in which control strings are control tokens; deltas of a kind are joined."""
    parser = ReplyParser(tokenizer, tokenizer.encode(prompt, special=True))
    found = [event for number in tokenizer.encode(reply, special=True) for event in parser.push(number)]
    return joined([*found, *parser.finish()])


def joined(found: Sequence[Event]) -> list[Event]:
    out: list[Event] = []
    for event in found:
        last = out[-1] if out else None
        if isinstance(event, TextDelta) and isinstance(last, TextDelta):
            out[-1] = TextDelta(last.text + event.text)
        elif isinstance(event, ThoughtDelta) and isinstance(last, ThoughtDelta):
            out[-1] = ThoughtDelta(last.text + event.text)
        else:
            out.append(event)
    return out


def called(name: str, **arguments: object) -> list[Event]:
    return [ToolCallStarted(name), ToolCallParsed(ToolCall(name, arguments))]


def test_a_reply_is_text(tokenizer: Tokenizer) -> None:
    assert events(tokenizer, " Hi\n the\n\n<turn|>") == [TextDelta(" Hi\n the\n\n")]
    assert events(tokenizer, "cut off") == [TextDelta("cut off")]
    assert events(tokenizer, "<eos>") == []


def test_thoughts_come_apart_from_the_text(tokenizer: Tokenizer) -> None:
    reply = "<|channel>thought\nAdd\n them.\n<channel|>4<turn|>"
    assert events(tokenizer, reply) == [ThoughtDelta("Add\n them."), TextDelta("4")]


@pytest.mark.parametrize(
    ("channel", "thought"),
    [
        ("thought\n", ""),
        ("thought\n\n", ""),
        ("thought\na", "a"),
        ("thought\na\n\n", "a\n"),
        ("thought\n\na\n", "\na"),
        ("thought", ""),
        ("", ""),
        ("tho", ""),
        ("thoughts\nof mine", "thoughts\nof mine"),
        ("final\nHi\n", "final\nHi"),
    ],
)
def test_line_breaks_of_the_marks_are_not_part_of_a_thought(
    tokenizer: Tokenizer, channel: str, thought: str
) -> None:
    wanted = [ThoughtDelta(thought)] if thought else []
    assert events(tokenizer, f"<|channel>{channel}<channel|>x") == [*wanted, TextDelta("x")]


def test_a_thought_that_is_never_closed_stays_a_thought(tokenizer: Tokenizer) -> None:
    assert events(tokenizer, "<|channel>thought\nHm. It is 4.<turn|>") == [ThoughtDelta("Hm. It is 4.")]
    assert events(tokenizer, "<|channel>thought\nHm.\n") == [ThoughtDelta("Hm.")]


def test_several_thoughts_and_texts_keep_their_order(tokenizer: Tokenizer) -> None:
    reply = "a<|channel>thought\nb\n<channel|>c<|channel>thought\nd<|channel>thought\ne<channel|><channel|>f"
    assert events(tokenizer, reply) == [
        TextDelta("a"),
        ThoughtDelta("b"),
        TextDelta("c"),
        ThoughtDelta("de"),
        TextDelta("f"),
    ]


def test_a_prompt_may_leave_the_thought_open(tokenizer: Tokenizer) -> None:
    """After a tool's response the template opens the channel itself, and the reply begins within it."""
    prompt = "<bos><|turn>model\n<tool_response|><|channel>thought\n"
    assert events(tokenizer, "Hm.\n<channel|>It is 15.<turn|>", prompt) == [
        ThoughtDelta("Hm."),
        TextDelta("It is 15."),
    ]
    assert events(tokenizer, "Hm.\n<channel|>15", prompt + "Well.\n") == [
        ThoughtDelta("\nHm."),
        TextDelta("15"),
    ]


def test_a_prompt_may_close_an_empty_thought(tokenizer: Tokenizer) -> None:
    assert events(tokenizer, "Hi", "<bos><|turn>model\n<|channel>thought\n<channel|>") == [TextDelta("Hi")]


def test_a_prompt_may_begin_a_call(tokenizer: Tokenizer) -> None:
    """A client that demands a certain tool has its name put into the prompt."""
    prompt = '<|turn>model\n<|tool_call>call:f{a:<|"|>x'
    assert events(tokenizer, 'y<|"|>}<tool_call|>', prompt) == [ToolCallParsed(ToolCall("f", {"a": "xy"}))]


def test_earlier_turns_of_the_prompt_open_nothing(tokenizer: Tokenizer) -> None:
    special, letter = tokenizer.special, tokenizer.encode("a")[0]
    assert list(open_tail([special.channel_open, special.turn_close, special.bos], special)) == []
    assert list(open_tail([special.turn_open, special.channel_open, letter], special)) == [
        special.channel_open,
        letter,
    ]
    assert list(open_tail([], special)) == []


def test_calls_are_read_with_typed_arguments(tokenizer: Tokenizer) -> None:
    reply = (
        'See:<|tool_call>call:f{a:<|"|>}, "call:{<|"|>,b:[1,2.5,{c:null}]}<tool_call|>'
        "<|tool_call>call:g{}<tool_call|><|tool_response>"
    )
    assert events(tokenizer, reply) == [
        TextDelta("See:"),
        *called("f", a='}, "call:{', b=[1, 2.5, {"c": None}]),
        *called("g"),
    ]


def test_a_call_is_announced_once_its_name_is_known(tokenizer: Tokenizer) -> None:
    parser = ReplyParser(tokenizer)
    ids = tokenizer.encode("<|tool_call>call:get{a:1}<tool_call|>", special=True)
    found = [parser.push(number) for number in ids]
    assert [e for e in found if e] == [[ToolCallStarted("get")], [ToolCallParsed(ToolCall("get", {"a": 1}))]]
    assert found.index([ToolCallStarted("get")]) < len(found) - 3


def test_text_that_only_looks_like_a_mark_is_text(tokenizer: Tokenizer) -> None:
    parser = ReplyParser(tokenizer)
    reply = "<|channel>thought\n<|tool_call>call:f{}<tool_call|><turn|>"
    found = [event for number in tokenizer.encode(reply) for event in parser.push(number)]
    assert joined(found) == [TextDelta(reply)]
    quoted = tokenizer.encode('<|tool_call>call:f{a:<|"|>', special=True) + tokenizer.encode("<tool_call|>")
    parser = ReplyParser(tokenizer)
    found = [event for number in quoted for event in parser.push(number)]
    found += [
        e for number in tokenizer.encode('<|"|>}<tool_call|>', special=True) for e in parser.push(number)
    ]
    assert found == called("f", a="<tool_call|>")


def test_without_tools_a_call_is_text_like_any_other(tokenizer: Tokenizer) -> None:
    """Nobody could answer it, and a client that offered no tools takes a call for a fault (vLLM #55080)."""
    reply = '<|channel>thought\nHm.\n<|tool_call>call:f{a:<|"|>x<|"|>}<tool_call|><|tool_call>call:g{'
    parser = ReplyParser(tokenizer, has_tools=False)
    found = [event for number in tokenizer.encode(reply, special=True) for event in parser.push(number)]
    assert joined([*found, *parser.finish()]) == [ThoughtDelta("Hm."), TextDelta("call:f{a:x}call:g{")]


def test_a_call_within_a_thought_ends_the_thought(tokenizer: Tokenizer) -> None:
    reply = "<|channel>thought\nI call it.\n<|tool_call>call:f{}<tool_call|>done"
    assert events(tokenizer, reply) == [ThoughtDelta("I call it."), *called("f"), TextDelta("done")]


@pytest.mark.parametrize("end", ["", "<eos>", "<|tool_response>", "<turn|>", "<|turn>", "<|channel>"])
def test_a_call_that_lacks_only_its_closing_mark_is_whole(tokenizer: Tokenizer, end: str) -> None:
    assert events(tokenizer, f"<|tool_call>call:f{{a:1}}{end}") == called("f", a=1)


@pytest.mark.parametrize(
    ("body", "told", "started"),
    [
        ("call:f{a:Paris}", "'Paris' is no number", True),
        ('call:f{a:<|"|>Paris}', "its last string is not closed", True),
        ("call:f{a:1", "the end stands where '}'", True),
        ("f{a:1}", "it begins with 'f'", False),
        ("call:f{a:<|think|>}", "is no number", True),
        ("", "it begins with ''", False),
    ],
)
def test_a_malformed_call_is_told_and_not_lost(
    tokenizer: Tokenizer, body: str, told: str, started: bool
) -> None:
    for end in ("<tool_call|>ok", "<|tool_call>call:g{}<tool_call|>ok"):
        found = events(tokenizer, f"<|tool_call>{body}{end}")
        malformed = found[1 if started else 0]
        assert isinstance(malformed, ToolCallMalformed)
        assert malformed.raw == body
        assert told in malformed.problem
        assert found[-1] == TextDelta("ok")


@pytest.mark.parametrize("end", ["<turn|>", "<eos>", "<|tool_response>", "<|turn>"])
def test_nothing_comes_after_the_end(tokenizer: Tokenizer, end: str) -> None:
    assert events(tokenizer, f"a{end}user\nb<|tool_call>call:f{{}}<tool_call|>") == [TextDelta("a")]


def test_stray_marks_leave_no_trace(tokenizer: Tokenizer) -> None:
    assert events(tokenizer, 'a<channel|><tool_call|><|"|>b<|think|><pad><|image|>') == [TextDelta("ab")]


def test_half_a_character_waits_and_is_given_at_the_end(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("🙂")
    parser = ReplyParser(tokenizer)
    assert [parser.push(number) for number in ids] == [[], [], [], []]
    assert parser.push(tokenizer.special.channel_open) == [TextDelta("🙂")]
    assert parser.push(ids[0]) == []
    assert parser.finish() == [ThoughtDelta("\ufffd")]


@settings(max_examples=300)
@given(data=st.data())
def test_no_mark_ever_leaks_whatever_the_model_writes(tokenizer: Tokenizer, data: st.DataObject) -> None:
    plain = st.sampled_from([*tokenizer.encode("thought\ncall:f{a:1}[,x é"), *tokenizer.encode("🙂")])
    marks = st.sampled_from([number for number in range(64) if tokenizer.is_control(number)])
    ids = data.draw(st.lists(plain | marks, max_size=30))
    prompt = data.draw(st.lists(plain | marks, max_size=4))
    parser = ReplyParser(tokenizer, prompt)
    found = [event for number in ids for event in parser.push(number)] + parser.finish()
    shown = "".join(event.text for event in found if isinstance(event, TextDelta | ThoughtDelta))
    assert "<" not in shown
    assert ">" not in shown
    assert parser.push(ids[0] if ids else 0) == []
