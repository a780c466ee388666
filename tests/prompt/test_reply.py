from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemcut.errors import BadMessages
from gemcut.prompt.assemble import assemble
from gemcut.prompt.messages import Message, ToolCall
from gemcut.prompt.parse import ReplyParser, TextDelta, ThoughtDelta, ToolCallParsed
from gemcut.prompt.reply import encode_reply
from gemcut.prompt.template import ChatTemplate
from gemcut.prompt.tokenizer import Tokenizer
from tests.prompt.conversations import hostile_text, json_values, keys, names
from tests.prompt.forms import form

CALLED = [
    {"role": "user", "content": "?"},
    {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]},
]
RESPONDED = [*CALLED, {"role": "tool", "content": "15"}]

tool_calls = st.builds(ToolCall, names, st.dictionaries(keys, json_values(hostile_text), max_size=3))


@settings(max_examples=200, deadline=None)
@given(
    text=hostile_text,
    reasoning=hostile_text,
    calls=st.lists(tool_calls, max_size=2),
    messages=st.sampled_from(["?", RESPONDED]),
    think=st.booleans(),
)
def test_the_parser_reads_back_every_reply(
    tokenizer: Tokenizer,
    nano_template: ChatTemplate,
    text: str,
    reasoning: str,
    calls: list[ToolCall],
    **options: Any,
) -> None:
    prompt = assemble(options["messages"], None, options["think"], form(tokenizer, nano_template)).token_ids
    message = Message("assistant", text, reasoning=reasoning, tool_calls=tuple(calls))
    parser = ReplyParser(tokenizer, prompt)
    events = [event for number in encode_reply(message, prompt, tokenizer) for event in parser.push(number)]
    assert parser.finish() == []
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == text
    assert "".join(e.text for e in events if isinstance(e, ThoughtDelta)) == reasoning
    assert [e.call for e in events if isinstance(e, ToolCallParsed)] == calls


def test_a_reply_is_what_the_template_prints_for_it_later(
    tokenizer: Tokenizer, nano_template: ChatTemplate
) -> None:
    """So the prompt of the next turn begins with what the model has already read and written."""
    prompt = assemble("?", None, True, form(tokenizer, nano_template)).token_ids
    reply = Message("assistant", "See.", reasoning="Hm.", tool_calls=(ToolCall("f", {"a": "<turn|>"}),))
    later = assemble(
        [Message("user", "?"), reply, Message("tool", "15")], None, True, form(tokenizer, nano_template)
    ).token_ids
    written = (*prompt, *encode_reply(reply, prompt, tokenizer))
    assert later[: len(written)] == written


def test_a_reply_ends_with_the_token_that_ends_its_turn(tokenizer: Tokenizer) -> None:
    special = tokenizer.special
    text = encode_reply(Message("assistant", "Hi"), (), tokenizer)
    assert text == [*tokenizer.encode("Hi"), special.turn_close]
    called = encode_reply(Message("assistant", tool_calls=(ToolCall("f", {}),)), (), tokenizer)
    assert called[0] == special.call_open
    assert called[-1] == special.response_open


def test_a_reply_without_thoughts_closes_the_channel_that_the_prompt_opened(tokenizer: Tokenizer) -> None:
    prompt = tokenizer.encode("<tool_response|><|channel>thought\n", special=True)
    assert encode_reply(Message("assistant", "15"), prompt, tokenizer)[0] == tokenizer.special.channel_close


@pytest.mark.parametrize("message", [Message("user", "Hi"), Message("assistant", ("Hi",))])
def test_only_an_assistants_text_is_a_reply(tokenizer: Tokenizer, message: Message) -> None:
    with pytest.raises(BadMessages, match="assistant's message with text content"):
        encode_reply(message, (), tokenizer)
