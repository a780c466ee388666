"""Tools that an agent may call: Python functions and whatever else can be declared and called."""

import asyncio
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pydantic
from PIL import Image

from gemcut.errors import BadTools, ToolFailed
from gemcut.prompt.messages import MediaPart, ToolCall
from gemcut.prompt.tools import read_tools


@dataclass(frozen=True)
class AgentTool:
    """A tool that is no Python function.

    declaration: its name, description and parameters, as OpenAI has them.
    call: takes the model's arguments and gives what a function may give, or raises.
    """

    declaration: Mapping[str, Any]
    call: Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True)
class ToolResult:
    """What came of a call.

    content: what the model is told: text, or parts with media among them.
    error: what the tool raised; None where it did its work.
    """

    call: ToolCall
    content: str | tuple[str | MediaPart, ...]
    error: Exception | None = None


Callables: TypeAlias = Sequence[Callable[..., Any] | AgentTool]


class Toolbox:
    """Tools by their names.  Raises BadTools for what cannot be declared or called."""

    def __init__(self, tools: Callables) -> None:
        self.declarations = [tool.declaration if isinstance(tool, AgentTool) else tool for tool in tools]
        names = [tool["function"]["name"] for tool in read_tools(self.declarations)]
        self._calls = {name: _caller(name, tool) for name, tool in zip(names, tools, strict=True)}

    def run(self, call: ToolCall) -> ToolResult:
        """What the tool gives, or what it raised, told to the model as its result."""
        try:
            if call.name not in self._calls:
                raise ToolFailed(f"there is no tool {call.name!r}; the tools are {', '.join(self._calls)}")
            return ToolResult(call, content_of(self._calls[call.name](call.arguments)))
        except Exception as error:  # a tool may raise anything, and the model may find a way around it
            return failed(call, error)


def failed(call: ToolCall, error: Exception) -> ToolResult:
    """The result of a call that failed, which says why in one line."""
    return ToolResult(call, f"error: {_reason(error)}", error)


def content_of(value: Any) -> str | tuple[str | MediaPart, ...]:
    """What a tool's value is to the model.

    Text stays text; a PIL image or a MediaPart is seen or heard, alone or in a list with texts and other
    values; anything else is written as JSON: numbers, mappings, lists, dataclasses, pydantic models, dates.
    A mapping is always data, so that no tool's output can name a file for the model to see.
    Raises ToolFailed for what JSON cannot hold.
    """
    if isinstance(value, str):
        return value
    if _is_medium(value):
        return (_medium(value),)
    if isinstance(value, list | tuple) and any(map(_is_medium, value)):
        return tuple(_medium(item) if _is_medium(item) else _text(item) for item in value)
    return _text(value)


def _caller(name: str, tool: Callable[..., Any] | AgentTool) -> Callable[[Mapping[str, Any]], Any]:
    """What calls the tool with the model's arguments."""
    if isinstance(tool, AgentTool):
        return tool.call
    if isinstance(tool, Mapping):
        raise BadTools(
            f"the tool {name!r} is a schema alone and an agent calls its tools; "
            "give a typed Python function, or AgentTool(schema, function of its arguments)"
        )
    checked = pydantic.validate_call(tool)  # a date, an enum or a model is made of the JSON that declares it

    def run(arguments: Mapping[str, Any]) -> Any:
        value = checked(**arguments)
        return asyncio.run(_awaited(value)) if inspect.isawaitable(value) else value

    return run


async def _awaited(value: Any) -> Any:
    return await value


def _is_medium(value: Any) -> bool:
    return isinstance(value, MediaPart | Image.Image)


def _medium(value: MediaPart | Image.Image) -> MediaPart:
    return value if isinstance(value, MediaPart) else MediaPart("image", value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        plain = pydantic.TypeAdapter(Any).dump_python(value, mode="json")
        return json.dumps(plain, ensure_ascii=False)
    except ValueError as error:
        raise ToolFailed(
            f"the tool's result is of type {type(value).__name__}, which cannot be told: {error}"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, ToolFailed):
        return str(error)
    if isinstance(error, pydantic.ValidationError):
        problems = (f"{'.'.join(map(str, row['loc']))}: {row['msg']}" for row in error.errors())
        return f"wrong arguments: {'; '.join(problems)}"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
