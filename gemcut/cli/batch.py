"""`gemcut run --batch`: a file of questions to a file of answers, which may be killed and started again."""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gemcut.api import Gemma
from gemcut.cli.answer import json_text
from gemcut.cli.conversation import Settings, with_system
from gemcut.cli.once import reply_json
from gemcut.cli.screen import Screen
from gemcut.engine.sampling_params import SamplingParams
from gemcut.errors import BadOption, GemcutError
from gemcut.many import Question, shown
from gemcut.prompt.json_schema import read_schema
from gemcut.prompt.tools import read_tools
from gemcut.reply import Reply

SAMPLING = (
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "max_tokens",
    "min_tokens",
    "max_thought_tokens",
    "stop",
)
KEYS = ("id", "prompt", "messages", "tools", "schema", "think", *SAMPLING)


@dataclass(frozen=True)
class Line:
    """A line of the file of questions.  id: what its answer is known by."""

    id: str
    question: Question


@dataclass(frozen=True)
class BatchFiles:
    """A file of questions, read, and the file that their answers go to.

    left: the lines that have no answer there yet.  num_lines: of all.
    """

    answers: Path
    left: Sequence[Line]
    num_lines: int

    @classmethod
    def read(cls, questions: Path, answers: Path, settings: Settings) -> "BatchFiles":
        """Both files; BadOption where one is no use.  settings: for lines that do not say otherwise."""
        lines = read_lines(questions, settings)
        done = answered(answers, {line.id for line in lines})
        return cls(answers, [line for line in lines if line.id not in done], len(lines))


def run_batch(gemma: Gemma, files: BatchFiles, screen: Screen) -> int:
    """Answers what is not answered yet, a line of JSON each as it is done; returns the exit code."""
    answers, left = files.answers, files.left
    if done := files.num_lines - len(left):
        screen.note(f"{done} of {files.num_lines} are answered in {answers}; the others follow")
    for fact in gemma.memory.lines():
        screen.note(fact)
    start, tokens, failed = time.perf_counter(), 0, 0
    with answers.open("ab") as out:
        made = gemma.replies(line.question for line in left)
        for place, result in shown(made, len(left), progress=True):
            out.write((json_text(answer_json(left[place].id, result)) + "\n").encode())
            out.flush()
            failed += isinstance(result, GemcutError)
            tokens += result.usage.completion_tokens if isinstance(result, Reply) else 0
    elapsed = time.perf_counter() - start
    screen.note(
        f"{len(left) - failed} answered in {elapsed:.1f} s · {tokens} tokens · {tokens / elapsed:.1f} tok/s"
    )
    if failed:
        screen.note(
            f"{failed} failed, with their errors in {answers}; take those lines out to try them again"
        )
    return 1 if failed else 0


def answer_json(line_id: str, result: Reply | GemcutError) -> dict[str, Any]:
    """A line of the file of answers."""
    if isinstance(result, GemcutError):
        return {"id": line_id, "error": " ".join(str(result).split())}
    shape = reply_json(result, "")
    del shape["model"], shape["timing"]
    return {"id": line_id, **shape}


def answered(answers: Path, known: set[str]) -> set[str]:
    """The ids of the lines that have an answer; a last line that was not written whole is taken away.

    Raises BadOption where the file holds something else.
    """
    if not answers.exists():
        return set()
    with answers.open("r+b") as file:
        data = file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            file.truncate(whole)
            file.flush()
            os.fsync(file.fileno())
    ids = set()
    for number, text in enumerate(data[:whole].splitlines(), start=1):
        try:
            ids.add(str(json.loads(text)["id"]))
        except (ValueError, TypeError, KeyError):
            raise BadOption(
                f"line {number} of {answers} is no answer of an earlier run; name another file for --out"
            ) from None
    if strange := sorted(ids - known):
        raise BadOption(
            f"{answers} answers {strange[0]!r}, which is not asked here; name another file for --out"
        )
    return ids


def read_lines(questions: Path, settings: Settings) -> list[Line]:
    """The questions of a file, one a line.  Raises BadOption with the line's number for what is wrong."""
    try:
        text = questions.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadOption(f"{questions} is not UTF-8 text ({error.reason}); write JSON lines") from None
    found: dict[str, Line] = {}
    for number, row in enumerate(text.split("\n"), start=1):
        if not row.strip():
            continue
        try:
            line = read_line(row, str(number), settings)
        except GemcutError as error:
            raise BadOption(f"line {number} of {questions}: {error}") from None
        if line.id in found:
            raise BadOption(f"line {number} of {questions} has the id {line.id!r}, as a line before it has")
        found[line.id] = line
    if not found:
        raise BadOption(f'{questions} has no lines; write one JSON object a line, {{"prompt": "…"}}')
    return list(found.values())


def read_line(row: str, name: str, settings: Settings) -> Line:
    """One question.  name: its id where it has none.  Raises GemcutErrors for what is wrong with it."""
    try:
        given = json.loads(row)
    except ValueError as error:
        raise BadOption(f"it is not JSON ({error})") from None
    if not isinstance(given, dict):
        raise BadOption('it is no JSON object; write {"prompt": "…"} or {"messages": […]}')
    if unknown := sorted(set(given) - set(KEYS)):
        raise BadOption(f"{unknown[0]!r} is not known; a line may have {', '.join(KEYS)}")
    if ("prompt" in given) == ("messages" in given):
        raise BadOption("it must have either prompt or messages")
    messages = given.get("messages")
    if messages is None:
        messages = with_system(settings.system, [{"role": "user", "content": given["prompt"]}])
    options = settings.options
    if "tools" in given:
        options["tools"] = read_tools(given["tools"])
    if "schema" in given:
        read_schema(given["schema"])  # it says what is wrong with it, before any question is asked
        options["schema"] = given["schema"]
    if "think" in given:
        if not isinstance(given["think"], bool):
            raise BadOption(f"think is {given['think']!r}; it is true or false")
        options["think"] = given["think"]
    options["sampling"] = _sampling(given, settings.sampling)
    return Line(str(given.get("id", name)), Question(messages, options))


def _sampling(given: dict[str, Any], usual: SamplingParams) -> SamplingParams:
    changes = {name: given[name] for name in SAMPLING if name in given}
    return replace(usual, **changes) if changes else usual
