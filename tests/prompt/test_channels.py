"""The states of a reply, which parser, grammars and budgets share."""

import pytest

from gemcut.prompt.channels import ChannelState, entered_state
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
