"""The state machine of channels and calls: one for the parser, the grammars and the thinking budget.

state     left by                                              entered by
text      any of the below                                     the start; <channel|>; <tool_call|>
thought   <channel|>, or any of the below                      <|channel>
call      <tool_call|>, or any of these three                  <|tool_call>, where tools are declared
ended     nothing: what comes after is ignored                 <turn|>  <eos>  <|tool_response>  <|turn>
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from gemcut.prompt.tokenizer import SpecialTokens

ChannelState: TypeAlias = Literal["text", "thought", "call", "ended"]


def entered_state(
    state: ChannelState, token_id: int, special: SpecialTokens, has_tools: bool = True
) -> ChannelState | None:
    """The state that a token leads to, maybe the same anew; None where the token belongs to `state`.

    has_tools: whether there is anything to call; else what follows the mark of a call is text.
    """
    if token_id not in special.marks or state == "ended":  # almost every token is none
        return None
    if token_id in special.ends:
        return "ended"
    if token_id == special.channel_open:
        return "thought"
    if token_id == special.call_open:
        return "call" if has_tools else "text"
    if (state, token_id) in (("thought", special.channel_close), ("call", special.call_close)):
        return "text"
    return None


def declares_tools(prompt_ids: Sequence[int], special: SpecialTokens) -> bool:
    """Whether the prompt tells of tools that can be called."""
    return special.tool_open in prompt_ids


def open_tail(prompt_ids: Sequence[int], special: SpecialTokens) -> Sequence[int]:
    """The end of the prompt from the mark of a thought channel or call that it leaves open; else nothing."""
    openers = {special.channel_open, special.call_open}
    marks = openers | {
        special.turn_open,
        special.turn_close,
        special.channel_close,
        special.call_close,
        special.response_open,
        special.response_close,
    }
    for start in range(len(prompt_ids) - 1, -1, -1):
        if prompt_ids[start] in marks:
            return prompt_ids[start:] if prompt_ids[start] in openers else ()
    return ()
