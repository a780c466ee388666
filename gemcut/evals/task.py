"""Tasks: conversations with a known good answer, and a scorer that says whether a reply is as good."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class CallLike(Protocol):
    """A tool call as the model made it."""

    @property
    def name(self) -> str:
        """The tool's name."""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What it is called with."""


class ReplyLike(Protocol):
    """What a scorer reads of a model's reply."""

    @property
    def text(self) -> str:
        """The answer, without thoughts and calls."""

    @property
    def thoughts(self) -> str | None:
        """What was thought before it."""

    @property
    def tool_calls(self) -> Sequence[CallLike]:
        """The calls, in order."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One conversation up to the model's turn, and what is wanted.

    messages and tools are in OpenAI's shape.  wanted: what the task's scorer compares with, in its form.
    """

    messages: tuple[Mapping[str, Any], ...]
    wanted: Any
    tools: tuple[Mapping[str, Any], ...] = ()
    think: bool = False


Scorer = Callable[[ReplyLike, Any], float]  # 1 for a right reply, 0 for a wrong one, or a share
Answerer = Callable[[Case], ReplyLike]


@dataclass(frozen=True, kw_only=True)
class Task:
    """Cases with one scorer. target: the share of cases that should be right, from 0 to 1."""

    name: str
    target: float
    cases: tuple[Case, ...]
    score: Scorer


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A case that went wrong, wholly or in part, and the reply."""

    case: Case
    reply: ReplyLike


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a task went. score: the mean of its cases' scores, from 0 to 1."""

    task: Task
    score: float
    failures: tuple[Failure, ...] = field(repr=False)

    @property
    def reached(self) -> bool:
        """Whether the score is at the target or above it."""
        return self.score >= self.task.target


def run_task(answer: Answerer, task: Task) -> Result:
    """The task's result with the model that `answer` asks.

    Raises ValueError where the task has no cases.
    """
    if not task.cases:
        raise ValueError(f"the task {task.name} has no cases; give it at least one")
    failures, total = [], 0.0
    for case in task.cases:
        reply = answer(case)
        score = task.score(reply, case.wanted)
        total += score
        if score < 1:
            failures.append(Failure(case=case, reply=reply))
    return Result(task=task, score=total / len(task.cases), failures=tuple(failures))
