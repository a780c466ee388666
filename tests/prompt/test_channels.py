"""The states of a reply, which parser, grammars and budgets share."""

import pytest

from gemcut.prompt.channels import ChannelState, declares_tools, entered_state
from gemcut.prompt.tokenizer import Tokenizer


@pytest.mark.parametrize(
    ("state", "mark", "entered"),
    [
        ("text", "<|channel>", "thought"),
        ("text", "<|tool_call>", "call"),
        ("text", "<channel|>", None),
        ("thought", "<channel|>", "text"),
        ("thought", "<tool_call|>", None),
        ("thought", "<|tool_call>", "call"),
        ("call", "<tool_call|>", "text"),
        ("call", "<channel|>", None),
        ("call", "<turn|>", "ended"),
        ("thought", "<|tool_response>", "ended"),
        ("text", "<eos>", "ended"),
        ("ended", "<|channel>", None),
    ],
)
def test_marks_lead_from_state_to_state(
    state: ChannelState, mark: str, entered: ChannelState | None, tokenizer: Tokenizer
) -> None:
    assert entered_state(state, tokenizer.encode(mark, special=True)[0], tokenizer.special) == entered


def test_where_nothing_can_be_called_a_call_is_text(tokenizer: Tokenizer) -> None:
    special = tokenizer.special
    for state in ("text", "thought"):
        assert entered_state(state, special.call_open, special, has_tools=False) == "text"
    assert entered_state("text", special.call_close, special, has_tools=False) is None


def test_a_prompt_declares_tools_by_their_mark_alone(tokenizer: Tokenizer) -> None:
    said = "<|tool>declaration:f{}<tool|>"
    assert declares_tools(tokenizer.encode(said, special=True), tokenizer.special)
    assert not declares_tools(tokenizer.encode(said), tokenizer.special)
