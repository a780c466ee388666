"""The held-out cases of every task, and what a model makes of them: greedy, unconstrained."""

import json
import random
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any
from zlib import crc32

import torch

from gemcut.api import Gemma
from gemcut.engine.sampling_params import SamplingParams
from gemcut.evals.scorers import contains_answer, equal_calls, equal_json, exact_text, lacks, starts_with
from gemcut.evals.task import Case, Result, Task, run_task
from recipes.nano.arithmetic import arithmetic
from recipes.nano.example import Example
from recipes.nano.facts import all_facts, ask, facts
from recipes.nano.fill_json import fill_json
from recipes.nano.refuse import refuse
from recipes.nano.senses_cases import MEANINGS as SENSES
from recipes.nano.senses_cases import senses_tasks
from recipes.nano.speech import BANK
from recipes.nano.system_tasks import system_prompt
from recipes.nano.talk import conversation, small_talk
from recipes.nano.tool_tasks import no_tool, tool_answers, tools
from recipes.nano.voices import open_bank

DONT_KNOW = "I don't know"
SEED = 2026
ANSWER_TOKENS = 160
NUMBER = re.compile(r"(?<!\w)\d+(?!\w)")
MEANINGS = {
    "facts": "answers questions about Gemma 4 and gemcut, in wordings not seen in training",
    "arithmetic": "adds and subtracts up to three digits, thinking",
    "tools": "calls the right one of several tools with the right arguments; tools, names and values unseen",
    "no_tool": "says that none of its tools fits",
    "tool_answers": "answers from a tool's response",
    "json": "fills a given JSON object from a sentence",
    "system": "keeps to a system prompt: upper case, one word, a greeting in a language",
    "conversation": "holds a conversation of several turns",
    "small_talk": "greets, thanks, says who it is",
    "refuse": "says that it does not know, asked about anything else",
    "in_scope": "does not say so to questions that it should answer",
    **SENSES,
}


def as_case(example: Example) -> Case:
    """The example without its last message, which becomes what is wanted."""
    last = example.messages[-1]
    wanted: Any = last["content"]
    if example.check == "calls":
        wanted = [(c["function"]["name"], c["function"]["arguments"]) for c in last["tool_calls"]]
    elif example.check == "json":
        wanted = json.loads(wanted)
    elif example.check == "contains":
        wanted = example.wanted
    elif example.check == "refuses":
        wanted = DONT_KNOW
    return Case(
        messages=tuple(example.messages[:-1]), tools=tuple(example.tools), think=example.think, wanted=wanted
    )


def _rng(name: str) -> random.Random:
    return random.Random(crc32(f"{SEED}/{name}".encode()))


def _cases(
    name: str, draw: Callable[..., Example], count: int, keep: Callable[[Example], bool]
) -> tuple[Case, ...]:
    rng = _rng(name)
    cases: list[Case] = []
    while len(cases) < count:
        example = draw(rng, "held_out")
        if keep(example):
            cases.append(as_case(example))
    return tuple(cases)


def _any(_: Example) -> bool:
    return True


def _main_instruction(example: Example) -> bool:
    """Upper case, one word, or a greeting in a language: the instructions that the target names.

    Not around sums: held-out ones cannot be known without working them out, and that is arithmetic's task.
    """
    asked = next(m["content"] for m in reversed(example.messages) if m["role"] == "user")
    if len(NUMBER.findall(asked)) > 1:
        return False
    text = example.messages[0]["content"].lower()
    return (
        any(word in text for word in ("capital", "upper case", "word", "greet", "hello"))
        and "last word" not in text
    )


def every_fact(count: int) -> tuple[Case, ...]:
    """Each fact in held-out wordings, as evenly as the count allows."""
    rng = _rng("facts")
    known = list(all_facts())
    rng.shuffle(known)
    chosen = [known[i % len(known)] for i in range(max(count, 1))]
    return tuple(
        Case(messages=({"role": "user", "content": ask(rng, fact, "held_out")},), wanted=fact.answer)
        for fact in chosen
    )


def in_scope(count: int) -> tuple[Case, ...]:
    """Questions that the model should answer: facts, sums and small talk, in held-out wordings."""
    rng = _rng("in scope")
    draws = (facts, facts, arithmetic, small_talk)
    found = [rng.choice(draws)(rng, "held_out") for _ in range(count)]
    return tuple(Case(messages=tuple(e.messages[:-1]), think=e.think, wanted=DONT_KNOW) for e in found)


def held_out_tasks(count: int) -> tuple[Task, ...]:
    """All tasks, each with `count` cases."""

    def cases(
        name: str, draw: Callable[..., Example], keep: Callable[[Example], bool] = _any
    ) -> tuple[Case, ...]:
        return _cases(name, draw, count, keep)

    return (
        Task(name="facts", target=0.9, cases=every_fact(count), score=exact_text),
        Task(name="arithmetic", target=0.95, cases=cases("arithmetic", arithmetic), score=contains_answer),
        Task(name="tools", target=0.75, cases=cases("tools", tools), score=equal_calls),
        Task(name="no_tool", target=0.75, cases=cases("no_tool", no_tool), score=exact_text),
        Task(
            name="tool_answers", target=0.85, cases=cases("tool_answers", tool_answers), score=contains_answer
        ),
        Task(name="json", target=0.85, cases=cases("json", fill_json), score=equal_json),
        Task(
            name="system",
            target=0.9,
            cases=cases("system", system_prompt, _main_instruction),
            score=exact_text,
        ),
        Task(name="conversation", target=0.8, cases=cases("conversation", conversation), score=exact_text),
        Task(name="small_talk", target=0.9, cases=cases("small_talk", small_talk), score=exact_text),
        Task(name="refuse", target=0.8, cases=cases("refuse", refuse), score=starts_with),
        Task(name="in_scope", target=0.95, cases=in_scope(count), score=lacks),
    )


def table(results: list[Result]) -> str:
    """The results as lines of text."""
    lines = [f"{'task':14s} {'cases':>5s} {'target':>7s} {'score':>7s}"]
    for result in results:
        task = result.task
        mark = "" if result.reached else "  below"
        lines.append(f"{task.name:14s} {len(task.cases):5d} {task.target:7.0%} {result.score:7.1%}{mark}")
    return "\n".join(lines)


def scores_json(results: list[Result]) -> dict[str, Any]:
    """The scores as data."""
    return {
        r.task.name: {"target": r.task.target, "score": round(r.score, 4), "cases": len(r.task.cases)}
        for r in results
    }


def failures_json(results: list[Result]) -> dict[str, Any]:
    """Every case that went wrong, with the reply, by task."""
    return {
        r.task.name: [
            {
                "messages": [_told(message) for message in f.case.messages],
                "tools": [t["function"] for t in f.case.tools],
                "wanted": f.case.wanted,
                "text": f.reply.text,
                "thoughts": f.reply.thoughts,
                "calls": [(c.name, dict(c.arguments)) for c in f.reply.tool_calls],
            }
            for f in r.failures
        ]
        for r in results
    }


def _told(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message with the kind of each medium in its place."""
    content = message.get("content")
    if not isinstance(content, list):
        return dict(message)
    parts = [part if part["type"] == "text" else {"type": part["type"]} for part in content]
    return dict(message) | {"content": parts}


def readme_table(scores: Mapping[str, Any]) -> str:
    """The README's table of these scores (as `scores_json` gives them), in Markdown."""
    lines = ["| task | right | target | cases |", "|---|--:|--:|--:|"]
    for name, row in scores.items():
        lines.append(f"| {MEANINGS[name]} | {row['score']:.1%} | {row['target']:.0%} | {row['cases']} |")
    return "\n".join(lines)


def _write(file: Path | None, data: object) -> None:
    if file is not None:
        file.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def evaluate(
    model: str, cases: int, scores: Path | None, failures: Path | None, only: tuple[str, ...] = ()
) -> list[Result]:
    """Runs the tasks (all of them, or those named in `only`), prints the table, writes what was asked for."""
    torch.set_num_threads(1)  # tiny tensors: a second thread only waits
    gemma = Gemma.load(model)
    sampling = SamplingParams(temperature=0, max_tokens=ANSWER_TOKENS)

    def answer(case: Case) -> Any:
        tools = list(case.tools) if case.tools else None
        return gemma.reply(list(case.messages), tools=tools, think=case.think, sampling=sampling)

    results = []
    for task in (*held_out_tasks(cases), *senses_tasks(cases, open_bank(BANK))):
        if only and task.name not in only:
            continue
        start = perf_counter()
        results.append(run_task(answer, task))
        seconds = perf_counter() - start
        print(f"{task.name}: {results[-1].score:.1%} in {seconds:.0f} s", file=sys.stderr, flush=True)
    print(table(results))
    _write(scores, scores_json(results))
    _write(failures, failures_json(results))
    return results
