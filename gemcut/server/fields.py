"""The base of every request's model: nothing unknown, nothing converted, and what is refused says why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic_core import CoreSchema, PydanticCustomError, from_json

from gemcut.server.refusal import Refusal

JSON_DEPTH = 200  # more is an attack: no tool nor schema is nested so deep


@dataclass(frozen=True)
class Refused:
    """A field of the API that this server does not fulfil.

    reason: why, and what to do.  neutral: values beside null that ask for nothing, which clients send.
    """

    reason: str
    neutral: tuple[Any, ...] = ()


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
            if name in given and given[name] is not None and given[name] not in field.neutral:
                raise PydanticCustomError("refused", "{reason}", {"field": name, "reason": field.reason})
        return {key: value for key, value in given.items() if key not in cls.refused}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler.resolve_ref_schema(handler(core))
        for name, field in cls.refused.items():
            schema.setdefault("properties", {})[name] = {
                "enum": [*field.neutral, None],
                "description": f"Refused with any other value: {field.reason}",
            }
        return schema


Read = TypeVar("Read", bound=Fields)


def read_json(body: bytes) -> Any:
    """A body's JSON.  Raises Refusal 400 where it is none."""
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Refusal(400, f"the body is no JSON: {error}", code="invalid_json") from None


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
    problems = error.errors(include_url=False, include_input=False)
    worst = max(problems, key=lambda p: (len(_path(given, p["loc"])), p["type"] == "extra_forbidden"))
    path = _path(given, worst["loc"])
    if worst["type"] == "refused":
        field = worst.get("ctx", {}).get("field", "")
        path = [*path, field]
        return Refusal(400, f"{_shown(path)}: {worst['msg']}", param=_shown(path), code="unsupported_value")
    where = _shown(path)
    if worst["type"] == "extra_forbidden":
        among = f"; known are {', '.join(sorted(model.model_fields))}" if len(path) == 1 else ""
        return Refusal(400, f"{where} is not a known field{among}", param=where, code="unknown_field")
    if worst["type"] == "missing":
        return Refusal(400, f"{where} is required", param=where, code="missing_field")
    return Refusal(400, f"{where or 'the body'}: {worst['msg']}", param=where or None, code="invalid_value")


def _path(given: Any, place: Sequence[str | int]) -> list[str | int]:
    """The place without the names of alternatives that pydantic puts into it."""
    path: list[str | int] = []
    here = given
    for number, step in enumerate(place):
        if (
            isinstance(step, int)
            and isinstance(here, list)
            and step < len(here)
            or isinstance(step, str)
            and isinstance(here, Mapping)
            and step in here
        ):
            here = here[step]
        elif not (number == len(place) - 1 and isinstance(here, Mapping) and isinstance(step, str)):
            continue
        path.append(step)
    return path


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
