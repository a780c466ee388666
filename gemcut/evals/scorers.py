"""Scorers: whether a reply is what was wanted. Nothing is constrained or repaired before it is compared."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from gemcut.evals.task import ReplyLike


def exact_text(reply: ReplyLike, wanted: str) -> bool:
    """The text equals the wanted one, blanks around it aside, and no tool was called."""
    return reply.text.strip() == wanted.strip() and not reply.tool_calls


def contains_answer(reply: ReplyLike, wanted: str | Sequence[str]) -> bool:
    """The text holds each wanted answer as whole words, whatever the case, and no tool was called."""
    answers = [wanted] if isinstance(wanted, str) else wanted
    return not reply.tool_calls and all(_holds(reply.text, answer) for answer in answers)


def _holds(text: str, answer: str) -> bool:
    wanted = answer.strip().rstrip(".")
    no_sign_or_digits = r"(?<!-)(?<!\d[.,:])" if wanted[:1].isdigit() else ""  # 12 is not in -12 or 3.12
    pattern = rf"(?<!\w){no_sign_or_digits}{re.escape(wanted)}(?![\w-]|[.,:]\d)"
    return re.search(pattern, text, re.IGNORECASE) is not None


def equal_calls(reply: ReplyLike, wanted: Sequence[tuple[str, Mapping[str, Any]]]) -> bool:
    """The reply calls the wanted tools with the wanted arguments, all of them and no others, in order."""
    called = [(call.name, dict(call.arguments)) for call in reply.tool_calls]
    return len(called) == len(wanted) and all(
        name == wanted_name and _same(arguments, dict(wanted_arguments))
        for (name, arguments), (wanted_name, wanted_arguments) in zip(called, wanted, strict=True)
    )


def equal_json(reply: ReplyLike, wanted: Any) -> bool:
    """The text is JSON and the same value as the wanted one, whatever the order of keys."""
    try:
        value = json.loads(reply.text)
    except ValueError:
        return False
    return _same(value, wanted) and not reply.tool_calls


def _same(left: Any, right: Any) -> bool:
    """Equality that tells true from 1, within lists and objects too."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def starts_with(reply: ReplyLike, wanted: str) -> bool:
    """The text begins with the wanted words, and no tool was called."""
    return reply.text.strip().startswith(wanted) and not reply.tool_calls


def lacks(reply: ReplyLike, unwanted: str) -> bool:
    """The text does not begin with the unwanted words."""
    return not reply.text.strip().startswith(unwanted)


def words_right(reply: ReplyLike, wanted: str) -> float:
    """The share of the wanted words that stand in their places, of the longer of the two texts."""
    words, said = wanted.split(), reply.text.split()
    if reply.tool_calls or not words:
        return 0.0
    return sum(one == other for one, other in zip(words, said, strict=False)) / max(len(words), len(said))
