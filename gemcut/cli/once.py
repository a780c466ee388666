"""One question, one answer: `gemcut run "…"` and `gemcut run --json "…"`."""

from typing import Any

import typer

from gemcut.api import Gemma
from gemcut.cli.answer import json_text, show_answer
from gemcut.cli.conversation import Settings, call_json, with_system
from gemcut.cli.screen import Screen
from gemcut.reply import Reply

INTERRUPTED = 130  # the exit code of a program that Ctrl-C ended


def answer_once(gemma: Gemma, question: dict[str, Any], settings: Settings, screen: Screen) -> None:
    """Prints the answer to a user's message as it comes; raises typer.Exit(130) where the user stopped it."""
    deltas = gemma.stream(with_system(settings.system, [question]), **settings.options)
    if show_answer(deltas, screen).finish is None:
        raise typer.Exit(INTERRUPTED)


def answer_as_json(gemma: Gemma, question: dict[str, Any], settings: Settings, source: str) -> None:
    """Prints the whole answer as one JSON object."""
    reply = gemma.reply(with_system(settings.system, [question]), **settings.options)
    print(json_text(reply_json(reply, source)))


def reply_json(reply: Reply, source: str) -> dict[str, Any]:
    """A reply as a JSON object."""
    return {
        "model": source,
        "text": reply.text,
        "thoughts": reply.thoughts,
        "tool_calls": [call_json(call) for call in reply.tool_calls],
        "malformed_calls": list(reply.malformed_calls),
        "finish_reason": reply.finish_reason,
        "usage": {
            "prompt_tokens": reply.usage.prompt_tokens,
            "completion_tokens": reply.usage.completion_tokens,
            "cached_tokens": reply.usage.cached_tokens,
        },
        "timing": {
            "first_token_s": round(reply.timing.first_token_s, 4),
            "tokens_per_s": round(reply.timing.tokens_per_s, 2),
        },
    }
