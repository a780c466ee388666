"""What is trained, and how much of it: weights are shares of tokens, not of examples."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from recipes.nano.arithmetic import arithmetic, quick_sum
from recipes.nano.copying import as_json, lookup, pick, repeat, which_tool
from recipes.nano.example import Example, Split
from recipes.nano.facts import facts
from recipes.nano.fill_json import fill_json
from recipes.nano.refuse import refuse
from recipes.nano.system_tasks import plain_system, system_prompt
from recipes.nano.talk import conversation, small_talk
from recipes.nano.tool_tasks import (
    everyday,
    no_tool,
    other_with_tools,
    tool_answers,
    tool_conversation,
    tools,
)

Draw = Callable[[Random, Split], Example]
TASKS: dict[str, Draw] = {
    "repeat": repeat,
    "lookup": lookup,
    "pick": pick,
    "as_json": as_json,
    "which_tool": which_tool,
    "tools": tools,
    "tool_conversation": tool_conversation,
    "no_tool": no_tool,
    "other_with_tools": other_with_tools,
    "tool_answers": tool_answers,
    "everyday": everyday,
    "facts": facts,
    "arithmetic": arithmetic,
    "quick_sum": quick_sum,
    "json": fill_json,
    "system": system_prompt,
    "plain_system": plain_system,
    "conversation": conversation,
    "small_talk": small_talk,
    "refuse": refuse,
}


@dataclass(frozen=True)
class Phase:
    """A stretch of training: how many tokens, and the share of each task in them."""

    name: str
    tokens: int
    shares: dict[str, float]


PHASES = (
    Phase(
        "copying",
        4_000_000,
        {
            "repeat": 20,
            "lookup": 20,
            "pick": 10,
            "as_json": 8,
            "json": 8,
            "which_tool": 10,
            "tool_conversation": 20,
            "facts": 3,
            "arithmetic": 2,
            "small_talk": 2,
        },
    ),
    Phase(
        "all",
        18_000_000,
        {
            "repeat": 1.5,
            "lookup": 1.5,
            "pick": 0.5,
            "as_json": 1.5,
            "which_tool": 2,
            "tools": 14,
            "tool_conversation": 21,
            "no_tool": 3,
            "other_with_tools": 3,
            "tool_answers": 6,
            "everyday": 5,
            "facts": 10,
            "arithmetic": 6,
            "quick_sum": 3,
            "json": 14,
            "system": 6,
            "plain_system": 1,
            "conversation": 5,
            "small_talk": 3.5,
            "refuse": 5,
        },
    ),
    Phase(  # sums come last to a model of this size, and want more cases than anything else
        "practice",
        6_000_000,
        {
            "repeat": 1,
            "lookup": 1,
            "which_tool": 1.5,
            "tools": 11,
            "tool_conversation": 17,
            "no_tool": 2.5,
            "other_with_tools": 2.5,
            "tool_answers": 5,
            "everyday": 4.5,
            "facts": 6,
            "arithmetic": 24,
            "quick_sum": 5,
            "json": 13,
            "system": 5,
            "plain_system": 1,
            "conversation": 4,
            "small_talk": 3,
            "refuse": 3.5,
        },
    ),
    Phase(  # beside what is seen and heard, so that none of it is forgotten; refusing goes first
        "kept",
        3_500_000,
        {
            "repeat": 1,
            "lookup": 1,
            "which_tool": 1.5,
            "tools": 12,
            "tool_conversation": 17,
            "no_tool": 4,
            "other_with_tools": 3,
            "tool_answers": 5,
            "everyday": 4,
            "facts": 7,
            "arithmetic": 12,
            "quick_sum": 3,
            "json": 13,
            "system": 6,
            "plain_system": 1,
            "conversation": 5,
            "small_talk": 4,
            "refuse": 9,
        },
    ),
)
TOKENIZER_SHARES = PHASES[1].shares
