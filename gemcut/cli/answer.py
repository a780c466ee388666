"""An answer onto the screen, piece by piece, and what it came to."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gemcut.cli.screen import Screen
from gemcut.prompt.messages import ToolCall
from gemcut.reply import Delta, Finish


@dataclass(frozen=True)
class Answer:
    """What the model said.  finish: how it ended; None where the user stopped it."""

    text: str
    thoughts: str
    tool_calls: tuple[ToolCall, ...]
    finish: Finish | None


def show_answer(deltas: Iterator[Delta], screen: Screen) -> Answer:
    """Prints the pieces as they come, and how fast they came; Ctrl-C ends the answer where it is."""
    shown: list[Delta] = []
    try:
        for delta in deltas:
            shown.append(delta)
            _show(delta, screen)
    except KeyboardInterrupt:
        screen.note("stopped")
    return Answer(
        text="".join(delta.text for delta in shown if delta.kind == "text"),
        thoughts="".join(delta.text for delta in shown if delta.kind == "thought"),
        tool_calls=tuple(delta.tool_call for delta in shown if delta.tool_call is not None),
        finish=next((delta.finish for delta in shown if delta.finish is not None), None),
    )


def _show(delta: Delta, screen: Screen) -> None:
    if delta.kind == "text":
        screen.text(delta.text)
    elif delta.kind == "thought":
        screen.thought(delta.text)
    elif delta.kind == "malformed_call":
        screen.note(f"the model wrote a call that cannot be read: {delta.text}")
    if delta.tool_call is not None:
        screen.text_line(f"{delta.tool_call.name} {json_text(delta.tool_call.arguments)}")
    if delta.finish is not None:
        screen.note(finish_text(delta.finish))


def finish_text(finish: Finish) -> str:
    """How many tokens, how fast, and whether the answer was cut off, in one line."""
    number = finish.usage.completion_tokens
    parts = [f"{number} token{'' if number == 1 else 's'}"]
    if finish.timing.tokens_per_s > 0:
        parts.append(f"{finish.timing.tokens_per_s:.1f} tok/s")
    parts.append(f"first token after {finish.timing.first_token_s:.2f} s")
    if finish.reason == "length":
        parts.append("cut off: --max-tokens, or the context is full")
    return " · ".join(parts)


def json_text(value: Mapping[str, Any]) -> str:
    """A JSON object in one line, letters of all languages as they are."""
    return json.dumps(value, ensure_ascii=False)
