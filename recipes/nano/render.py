"""Examples as token ids with a mask: the chat template's text, written by hand so that 100,000 take a minute.

tests/recipes/test_render.py holds it against nano's own template on examples of every task.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from recipes.nano.example import Example, Json

QUOTE = '<|"|>'
Segment = tuple[str, bool]  # text, whether the model learns to say it


def _value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{QUOTE}{value}{QUOTE}" if isinstance(value, str) else str(value)


def _sorted(row: Json) -> list[tuple[str, Any]]:
    return sorted(row.items(), key=lambda item: item[0].lower())


def _declaration(tool: Json) -> str:
    function = tool["function"]
    parameters = function["parameters"]
    text = (
        f"declaration:{function['name']}{{description:{QUOTE}{function['description']}{QUOTE},parameters:{{"
    )
    properties = []
    for name, row in _sorted(parameters["properties"]):
        parts = []
        if "description" in row:
            parts.append(f"description:{QUOTE}{row['description']}{QUOTE}")
        if "enum" in row:
            parts.append(f"enum:[{','.join(_value(option) for option in row['enum'])}]")
        parts.append(f"type:{QUOTE}{row['type'].upper()}{QUOTE}")
        properties.append(f"{name}:{{{','.join(parts)}}}")
    if properties:
        text += f"properties:{{{','.join(properties)}}},"
    if parameters.get("required"):
        text += f"required:[{','.join(QUOTE + name + QUOTE for name in parameters['required'])}],"
    return f"<|tool>{text}type:{QUOTE}OBJECT{QUOTE}}}}}<tool|>"


def _opening(example: Example) -> str:
    first = example.messages[0]
    text = "<bos>"
    if example.think or example.tools or first["role"] == "system":
        text += "<|turn>system\n"
        if example.think:
            text += "<|think|>\n"
        if first["role"] == "system":
            text += first["content"].strip()
        text += "".join(_declaration(tool) for tool in example.tools) + "<turn|>\n"
    return text


def segments(example: Example) -> list[Segment]:
    """The conversation's text in order; the model's own words are marked."""
    messages = example.messages[1:] if example.messages[0]["role"] == "system" else example.messages
    last_user = max(i for i, m in enumerate(messages) if m["role"] == "user")
    out: list[Segment] = [(_opening(example), False)]
    in_turn = False  # a model turn is open: its tools have answered
    after_call = False
    for i, message in enumerate(messages):
        if message["role"] == "user":
            out.append((f"<|turn>user\n{message['content'].strip()}<turn|>\n", False))
            in_turn = False
            continue
        if message["role"] == "tool":
            body = f"response:{message['name']}{{value:{QUOTE}{message['content']}{QUOTE}}}<tool_response|>"
            out.append((body if after_call else f"<|tool_response>{body}", False))
            after_call = False
            continue
        if not in_turn:
            out.append(("<|turn>model\n", False))
        learnt = (
            not example.think or i > last_user
        )  # an earlier answer of a thinking model has lost its thought
        thought = message.get("reasoning")
        if thought is not None and i > last_user:
            out.append((f"<|channel>thought\n{thought}\n<channel|>", learnt))
        if calls := message.get("tool_calls"):
            said = ""
            for one in calls:
                arguments = ",".join(f"{k}:{_value(v)}" for k, v in _sorted(one["function"]["arguments"]))
                said += f"<|tool_call>call:{one['function']['name']}{{{arguments}}}<tool_call|>"
            out.append((f"{said}<|tool_response>", learnt))
            in_turn = after_call = True
        else:
            out += [(f"{message['content'].strip()}<turn|>", learnt), ("\n", False)]
            in_turn = False
    return out


def joined(parts: Iterable[Segment]) -> list[Segment]:
    """Neighbours with the same mark as one segment."""
    out: list[Segment] = []
    for text, learnt in parts:
        if out and out[-1][1] == learnt:
            out[-1] = (out[-1][0] + text, learnt)
        else:
            out.append((text, learnt))
    return out


def encode(tokenizer: Tokenizer, examples: Sequence[Example]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each example its ids (uint16) and its mask (uint8, 1 where the model learns to say this token).

    The last segment, a line break after the last turn, is left out: an example ends with a stop token.
    """
    parts = []
    for example in examples:
        listed = joined(segments(example))
        parts.append(listed[:-1] if listed[-1] == ("\n", False) else listed)
    encodings = iter(
        tokenizer.encode_batch([t for listed in parts for t, _ in listed], add_special_tokens=False)
    )
    rows = []
    for listed in parts:
        ids = [next(encodings).ids for _ in listed]
        mask = [[int(learnt)] * len(piece) for (_, learnt), piece in zip(listed, ids, strict=True)]
        rows.append((np.concatenate(ids).astype(np.uint16), np.concatenate(mask).astype(np.uint8)))
    return rows
