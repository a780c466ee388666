"""One training example or one held-out case: a conversation whose last message is the wanted answer."""

from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
Split = Literal["train", "held_out"]
Check = Literal["exact", "contains", "calls", "json", "refuses", "answers"]


@dataclass(frozen=True, kw_only=True)
class Example:
    """A conversation in OpenAI's shape.

    messages: those of role assistant, the last one among them, are what the model learns to say; a thought is
    in their field `reasoning`.  check: how the last message is scored where the example is a held-out case.
    wanted: what `contains` looks for.
    """

    task: str
    messages: list[Json]
    tools: list[Json] = field(default_factory=list)
    think: bool = False
    check: Check = "exact"
    wanted: tuple[str, ...] = ()


def system(text: str) -> Json:
    """A system message."""
    return {"role": "system", "content": text}


def user(text: str) -> Json:
    """A user's message."""
    return {"role": "user", "content": text}


def answer(text: str, thought: str | None = None) -> Json:
    """The model's message, with its thought where it has one."""
    message = {"role": "assistant", "content": text}
    return message if thought is None else message | {"reasoning": thought}


def call(calls: list[tuple[str, Json]], first_id: int = 1, thought: str | None = None) -> Json:
    """The model's message that calls tools.

    calls: (name, arguments) of each; their ids are c<first_id>, c<first_id + 1>, …
    """
    listed = [
        {"id": f"c{first_id + i}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for i, (name, arguments) in enumerate(calls)
    ]
    message: Json = {"role": "assistant", "content": "", "tool_calls": listed}
    return message if thought is None else message | {"reasoning": thought}


def tool_result(name: str, text: str, number: int = 1) -> Json:
    """The answer of the tool whose call has the id c<number>."""
    return {"role": "tool", "tool_call_id": f"c{number}", "name": name, "content": text}
