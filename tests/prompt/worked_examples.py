"""Reads the worked examples of the chat format from the notes beside the repository."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemcut.prompt.template import ChatTemplate


@dataclass(frozen=True)
class WorkedExample:
    """What goes into a template and what comes out, of the workstation's and of the edge one."""

    title: str
    messages: list[dict[str, Any]]
    options: dict[str, Any]
    workstation: str
    edge: str


def read_worked_examples(shared: Path) -> list[WorkedExample]:
    """All worked examples of facts/chat_template.md, in order."""
    notes = (shared / "facts/chat_template.md").read_text(encoding="utf-8").split("## 8. Worked examples")[1]
    examples = []
    for block in re.split(r"^### Example ", notes, flags=re.MULTILINE)[1:]:
        given = re.search(r"^input: `(.*)`$", block, flags=re.MULTILINE)
        assert given is not None
        options = json.loads(given[1])
        wanted = [
            json.loads(literal) for literal in re.findall(r"^```\n(.*)\n```$", block, flags=re.MULTILINE)
        ]
        messages = options.pop("messages")
        if "enable_thinking" in options:
            options["think"] = options.pop("enable_thinking")
        examples.append(WorkedExample(block.splitlines()[0], messages, options, wanted[0], wanted[-1]))
    return examples


def render(template: ChatTemplate, example: WorkedExample) -> str:
    """What a template makes of the example."""
    return template.render(example.messages, **example.options)
