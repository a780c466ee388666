"""Scorers and the runner."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from gemcut.evals.scorers import contains_answer, equal_calls, equal_json, exact_text, lacks, starts_with
from gemcut.evals.task import Case, Task, run_task


@dataclass
class Call:
    name: str
    arguments: dict[str, Any]


@dataclass
class Reply:
    text: str = ""
    thoughts: str | None = None
    tool_calls: list[Call] = field(default_factory=list)


def test_exact_text_forgives_blanks_around_it_only() -> None:
    assert exact_text(Reply(" Done.\n"), "Done.")
    assert not exact_text(Reply("done."), "Done.")
    assert not exact_text(Reply("Done.", tool_calls=[Call("f", {})]), "Done.")


@pytest.mark.parametrize(
    ("text", "answer", "held"),
    [
        ("The sum is 12.", "12", True),
        ("The sum is 123.", "12", False),
        ("The sum is 12.5.", "12", False),
        ("The sum is 1,200.", "1", False),
        ("The sum is 1,200.", "200", False),
        ("The sum is 3.12.", "12", False),
        ("The sum is -12.", "12", False),
        ("The sum is -12.", "-12", True),
        ("5 - 9 = -4", "= -4", True),
        ("5 - 9 = -42", "= -4", False),
        ("It is Paris", "paris", True),
        ("Parisian", "paris", False),
    ],
)
def test_contains_answer_looks_for_whole_words(text: str, answer: str, held: bool) -> None:
    assert contains_answer(Reply(text), answer) is held


def test_contains_answer_wants_all_of_several() -> None:
    assert contains_answer(Reply("a: 1, b: 2."), ("a: 1", "b: 2"))
    assert not contains_answer(Reply("a: 1."), ("a: 1", "b: 2"))


def test_equal_calls_wants_names_arguments_and_order() -> None:
    reply = Reply(tool_calls=[Call("f", {"x": 1, "y": "b"}), Call("g", {})])
    assert equal_calls(reply, [("f", {"y": "b", "x": 1}), ("g", {})])
    assert not equal_calls(reply, [("g", {}), ("f", {"y": "b", "x": 1})])
    assert not equal_calls(reply, [("f", {"y": "b", "x": 1})])
    assert not equal_calls(Reply(tool_calls=[Call("f", {"x": "1"})]), [("f", {"x": 1})])


def test_true_is_not_one() -> None:
    assert not equal_calls(Reply(tool_calls=[Call("f", {"x": True})]), [("f", {"x": 1})])
    assert not equal_json(Reply('{"x": [1]}'), {"x": [True]})


def test_equal_json_ignores_the_order_of_keys_and_refuses_what_is_no_json() -> None:
    assert equal_json(Reply('{"b": "x", "a": 1}'), {"a": 1, "b": "x"})
    assert not equal_json(Reply('{"a": 1'), {"a": 1})
    assert not equal_json(Reply('{"a": "1"}'), {"a": 1})


def test_beginnings() -> None:
    assert starts_with(Reply("I don't know. Ask me."), "I don't know")
    assert lacks(Reply("Hello"), "I don't know")
    assert not lacks(Reply("I don't know."), "I don't know")


def test_a_result_counts_what_was_right_and_keeps_what_was_wrong() -> None:
    cases = tuple(
        Case(messages=({"role": "user", "content": word},), wanted=word) for word in ("a", "b", "c", "d")
    )
    task = Task(name="echo", target=0.75, cases=cases, score=exact_text)
    result = run_task(lambda case: Reply(str(case.messages[0]["content"]).replace("d", "x")), task)
    assert result.score == 0.75
    assert result.reached
    assert [failure.reply.text for failure in result.failures] == ["x"]


def test_a_task_without_cases_is_refused() -> None:
    with pytest.raises(ValueError, match="no cases"):
        run_task(lambda case: Reply(), Task(name="none", target=1.0, cases=(), score=exact_text))
