"""The base of every request's model: nothing unknown, nothing converted, and what is refused says why."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError, model_validator

from gemcut.server.refusal import Refusal

JSON_DEPTH = 200  # more is an attack: no tool nor schema is nested so deep
MOST_VALUES = 2**20  # of a body, and more is one too: as objects of Python they are 30 times as large as told
MOST_FAULTS = 1000  # that are looked at to find the one to tell of


@dataclass(frozen=True)
class Refused:
    """A field of the API that this server does not fulfil.

    reason: why, and what to do.  neutral: values beside null that ask for nothing, which clients send.
    """

    reason: str
    neutral: tuple[Any, ...] = ()

    def passes(self, value: Any) -> bool:
        """Whether the value asks for nothing; 0 is not false."""
        return value is None or any(type(value) is type(known) and value == known for known in self.neutral)


class Fields(BaseModel):
    """Fields of a request or of a part of one; `refused` holds those that are known and not fulfilled."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    refused: ClassVar[Mapping[str, Refused]] = {}

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        for name, field in cls.refused.items():
            if name in given and not field.passes(given[name]):
                raise _IsRefused(name, field.reason)
        return {key: value for key, value in given.items() if key not in cls.refused}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler.resolve_ref_schema(handler(core))
        for name, field in cls.refused.items():
            schema.setdefault("properties", {})[name] = {
                "enum": [*field.neutral, None],
                "description": f"Refused with any other value: {field.reason}",
            }
        return schema


class _IsRefused(ValueError):
    """A field that is known and not fulfilled."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


Read = TypeVar("Read", bound=Fields)


def read_json(body: bytes | bytearray) -> Any:
    """A body's JSON.  Raises Refusal 400 where it is none, 413 where it has too many values."""
    if (many := sum(body.count(mark) for mark in b",[{")) > MOST_VALUES:  # those in texts count too
        text = f"the body has {many:,} commas and brackets, and {MOST_VALUES:,} are the most; send less"
        raise Refusal(413, text, code="too_large")
    try:
        given = json.loads(body, parse_float=_number, parse_constant=_no_number)
        if b"\\ud" in body.lower():  # half a character passes for a string, and no file nor log can hold it
            json.dumps(given, ensure_ascii=False).encode()
    except RecursionError:
        raise Refusal(400, "the body is nested too deep", code="invalid_json") from None
    except ValueError as error:
        raise Refusal(400, f"the body is no JSON: {error}", code="invalid_json") from None
    return given


def _number(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON's")


def read_fields(model: type[Read], given: Any) -> Read:
    """The checked fields of a request.  Raises Refusal 400 that names the first field that is wrong."""
    if not isinstance(given, Mapping):
        raise Refusal(400, f"the body must be a JSON object, not {_kind(given)}", code="invalid_json")
    if _too_deep(given):
        raise Refusal(400, f"the body is nested more than {JSON_DEPTH} deep", code="invalid_json")
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _refusal(model, given, error) from None


def _refusal(model: type[Fields], given: Any, error: ValidationError) -> Refusal:
    """The deepest complaint: of a value that may have several forms it is about the one that was meant."""
    if (count := error.error_count()) > MOST_FAULTS:
        text = f"the body is wrong in {count} places; send what /openapi.json says"
        return Refusal(400, text, code="invalid_value")
    problems = error.errors(include_url=False, include_input=False)
    worst = max(problems, key=lambda p: (len(_path(given, p)), p["type"] == "extra_forbidden"))
    path = _path(given, worst)
    refused = worst.get("ctx", {}).get("error")
    if isinstance(refused, _IsRefused):
        where = _shown([*path, refused.name])
        return Refusal(400, f"{where} is refused: {refused}", param=where, code="unsupported_value")
    where = _shown(path)
    if worst["type"] == "extra_forbidden":
        among = f"; known are {', '.join(sorted(model.model_fields))}" if len(path) == 1 else ""
        return Refusal(400, f"{where} is not a known field{among}", param=where, code="unknown_field")
    if worst["type"] == "missing":
        return Refusal(400, f"{where} is required", param=where, code="missing_field")
    return Refusal(400, f"{where or 'the body'}: {worst['msg']}", param=where or None, code="invalid_value")


def _path(given: Any, problem: Mapping[str, Any]) -> list[str | int]:
    """Where the problem is, without the names of alternatives that pydantic puts into its place."""
    path: list[str | int] = []
    here = given
    for step in problem["loc"]:
        is_item = isinstance(here, list) and isinstance(step, int) and step < len(here)
        if is_item or (isinstance(here, Mapping) and step in here):
            here = here[step]
            path.append(step)
    return [*path, problem["loc"][-1]] if problem["type"] == "missing" else path


def _shown(path: Sequence[str | int]) -> str:
    """A place as programs write it: `messages[0].content`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def _too_deep(given: Any) -> bool:
    layer = [given]
    for _ in range(JSON_DEPTH):
        layer = [
            inner
            for value in layer
            for inner in (value.values() if isinstance(value, Mapping) else value)
            if isinstance(inner, Mapping | list)
        ]
        if not layer:
            return False
    return True


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
