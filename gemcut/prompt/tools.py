"""Tools: JSON schemas or typed Python functions → the schemas that the chat template prints."""

import inspect
import re
import typing
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

import pydantic

from gemcut.errors import BadTools
from gemcut.prompt.plain_json import plain_json
from gemcut.prompt.tool_schema import plain_schema, tidy_schema, written_out

Tools: TypeAlias = Sequence[Mapping[str, Any] | Callable[..., Any]]
Rewrite: TypeAlias = Callable[[str, Any], dict[str, Any]]

FUNCTION_KEYS = ("name", "description", "parameters", "response", "strict")
DOCSTRING_SECTIONS = (
    "Args",
    "Arguments",
    "Parameters",
    "Returns",
    "Yields",
    "Raises",
    "Example",
    "Examples",
    "Note",
)


def read_tools(tools: Tools | None) -> tuple[dict[str, Any], ...]:
    """The tools in OpenAI's shape, `{"type": "function", "function": {name, description, parameters}}`.

    tools: such mappings, their inner function alone, or Python functions whose parameters are annotated; a
    function's docstring gives the descriptions (Google's "Args:" section those of the parameters).
    Schemas are rewritten where a template could not print them (`tool_schema`).
    Raises BadTools, naming the tool by its index or name.
    """
    return _read_tools(tools, plain_schema)


def tool_parameters(tools: Tools | None) -> dict[str, Any]:
    """The JSON schema of each tool's arguments by the tool's name, unions and all; {} where it takes none.

    Raises BadTools as `read_tools` does.
    """
    functions = [tool["function"] for tool in _read_tools(tools, written_out)]
    return {function["name"]: function.get("parameters", {}) for function in functions}


def _read_tools(tools: Tools | None, rewrite: Rewrite) -> tuple[dict[str, Any], ...]:
    if tools is None:
        return ()
    if isinstance(tools, str | Mapping) or not isinstance(tools, Sequence):
        raise BadTools(f"tools must be a list of schemas or functions, not {type(tools).__name__}")
    read = tuple(_read_tool(f"tool {i}", tool, rewrite) for i, tool in enumerate(tools))
    counts = Counter(tool["function"]["name"] for tool in read)
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise BadTools(f"two tools have the name {twice[0]!r}; give each its own")
    return read


def _read_tool(where: str, tool: Mapping[str, Any] | Callable[..., Any], rewrite: Rewrite) -> dict[str, Any]:
    if isinstance(tool, Mapping):
        try:
            function = _read_schema(where, plain_json(tool), rewrite)
        except ValueError as error:
            raise BadTools(f"{where} holds what JSON cannot: {error}; give a plain JSON schema") from error
    elif inspect.isroutine(tool):
        function = _describe(where, tool, rewrite)
    else:
        _fail(where, f"is of type {type(tool).__name__}; give a JSON schema or a typed Python function")
    return {"type": "function", "function": function}


def _read_schema(where: str, tool: Mapping[str, Any], rewrite: Rewrite) -> dict[str, Any]:
    """The function of a tool given as a mapping, in order and complete."""
    function = tool
    if "function" in tool or tool.get("type") == "function":
        function = tool.get("function", {})
        if tool.get("type", "function") != "function" or not isinstance(function, Mapping) or len(tool) > 2:
            _fail(where, "must look like {'type': 'function', 'function': {'name': …, 'parameters': …}}")
    if unknown := [key for key in function if key not in FUNCTION_KEYS]:
        _fail(where, f"has the unknown key {unknown[0]!r}; allowed are {', '.join(FUNCTION_KEYS)}")
    name = function.get("name")
    if not isinstance(name, str) or not name:
        _fail(where, f"has the name {name!r}; it must be the function's name")
    description = function.get("description")
    if not isinstance(description, str | None):
        _fail(
            where, f"({name!r}) has a description of type {type(description).__name__}; it must be a string"
        )
    read: dict[str, Any] = {"name": name, "description": "" if description is None else description}
    if function.get("parameters") not in (None, {}):
        parameters = rewrite(f"{where} ({name!r})", function["parameters"])
        if parameters.setdefault("type", "object") != "object":
            _fail(where, f"({name!r}) has parameters of type {parameters['type']!r}; it must be 'object'")
        read["parameters"] = parameters
    if function.get("response") is not None:
        read["response"] = plain_schema(f"{where} ({name!r})", function["response"])
    if function.get("strict") is not None:
        read["strict"] = function["strict"]
    return read


def _describe(where: str, function: Callable[..., Any], rewrite: Rewrite) -> dict[str, Any]:
    """The schema of a Python function, from its annotations, defaults and docstring."""
    name = function.__name__
    try:
        signature = inspect.signature(function)
        hints = typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError, ValueError) as error:
        raise BadTools(
            f"{where} ({name!r}) cannot be described ({error}); give its JSON schema instead"
        ) from error
    summary, described = read_docstring(inspect.getdoc(function))
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            _fail(where, f"({name!r}) takes {parameter}; a tool's parameters must be named ones")
        if parameter.name not in hints:
            _fail(
                where,
                f"({name!r}) has no type for {parameter.name}; annotate it, as in {parameter.name}: str",
            )
        schema = _type_schema(f"{where} ({name!r}), {parameter.name}", hints[parameter.name], rewrite)
        if parameter.name in described:
            schema = schema | {"description": described[parameter.name]}
        properties[parameter.name] = schema
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"name": name, "description": summary, "parameters": parameters}


def _type_schema(where: str, annotation: Any, rewrite: Rewrite) -> dict[str, Any]:
    try:
        schema = pydantic.TypeAdapter(annotation).json_schema()
    except (pydantic.errors.PydanticUserError, NameError) as error:
        problem = str(error).splitlines()[0]
        raise BadTools(
            f"{where} has a type that no JSON schema describes ({problem}); use another"
        ) from error
    return rewrite(where, tidy_schema(schema) if rewrite is plain_schema else schema)


def read_docstring(docstring: str | None) -> tuple[str, dict[str, str]]:
    """The summary of a docstring in Google's style, on one line, and the description of each argument."""
    if docstring is None:
        return "", {}
    sections = re.split(rf"^({'|'.join(DOCSTRING_SECTIONS)}):[ \t]*$", docstring, flags=re.MULTILINE)
    arguments: dict[str, str] = {}
    for title, body in zip(sections[1::2], sections[2::2], strict=True):
        if title in ("Args", "Arguments", "Parameters"):
            arguments |= _read_arguments(inspect.cleandoc(body.strip("\n")))
    return " ".join(sections[0].split()), arguments


def _read_arguments(body: str) -> dict[str, str]:
    """`name (type): text`, one an entry; indented lines go on with the entry before."""
    arguments: dict[str, str] = {}
    name = None
    for line in body.splitlines():
        entry = re.match(r"(\w+)\s*(?:\([^)]*\))?:\s*(.*)", line)
        if entry:
            name = entry[1]
            arguments[name] = entry[2].strip()
        elif name is not None and line.startswith(" "):
            arguments[name] = f"{arguments[name]} {line.strip()}".strip()
    return arguments


def _fail(where: str, problem: str) -> NoReturn:
    raise BadTools(f"{where} {problem}")
