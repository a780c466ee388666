"""/openapi.json: what this server is asked and answers, made of the same table as its routes."""

import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from pydantic.json_schema import models_json_schema

from gemcut.server.answer_schemas import ANTHROPIC_ERROR, OPENAI_ERROR
from gemcut.server.guard import PROTECTED
from gemcut.server.operations import Operation

REFERENCE = "#/components/schemas/{model}"
MEANINGS = {
    400: "Something in the request is wrong; `param` names it.",
    401: "The API key is missing or wrong.",
    403: "A browser asks for a page of another host.",
    404: "There is no such thing.",
    408: "The body did not arrive in time.",
    413: "The request is too large.",
    415: "The body is of another kind.",
    422: "An image, sound or video cannot be read.",
    429: "Too many requests wait; Retry-After says when to come again.",
    503: "The server is shutting down, has failed, or the request took too long.",
}


def openapi_json(operations: Sequence[Operation]) -> dict[str, Any]:
    """The document."""
    models = list(dict.fromkeys(op.takes for op in operations if op.takes is not None))
    names, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template=REFERENCE
    )
    bodies = {model: names[(model, "validation")] for model in models}
    paths: dict[str, dict[str, Any]] = {}
    for op in operations:
        body = None if op.takes is None else bodies[op.takes]
        paths.setdefault(_path(op), {})[op.method.lower()] = _operation(op, body)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gemcut",
            "version": version("gemcut"),
            "description": "Gemma 4 by OpenAI's and Anthropic's APIs; each field is honoured or refused.",
        },
        "paths": paths,
        "components": {
            "schemas": {
                **definitions.get("$defs", {}),
                "Error": OPENAI_ERROR,
                "AnthropicError": ANTHROPIC_ERROR,
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _path(op: Operation) -> str:
    return re.sub(r":\w+}", "}", op.path)


def _operation(op: Operation, body: Any) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": f"{op.method.lower()}{re.sub(r'[^a-z0-9]+', '_', _path(op))}",
        "summary": op.summary,
        "parameters": _parameters(op),
        "responses": {"200": _success(op), **_errors(op)},
    }
    if body is not None:
        described["requestBody"] = {"required": True, "content": {op.kind: {"schema": body}}}
    if op.path.startswith(PROTECTED):
        described["security"] = [{"bearer": []}, {"key": []}, {}]
    return described


def _parameters(op: Operation) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)", op.path)
    inside = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in names
    ]
    return inside + [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in (op.query or {}).items()
    ]


def _success(op: Operation) -> dict[str, Any]:
    text = {"schema": {"type": "string"}}
    content: dict[str, Any] = {}
    if op.gives is not None:
        content["application/json"] = {"schema": op.gives}
    if op.gives is None or op.may_be_text:
        content["text/plain"] = text
    if op.streams:
        content["text/event-stream"] = text
    return {"description": op.summary, "content": content}


def _errors(op: Operation) -> dict[str, Any]:
    statuses = {*op.errors, *((401,) if op.path.startswith(PROTECTED) else ())}
    name = "AnthropicError" if op.path.startswith("/v1/messages") else "Error"
    content = {"application/json": {"schema": {"$ref": REFERENCE.format(model=name)}}}
    return {str(status): {"description": MEANINGS[status], "content": content} for status in sorted(statuses)}
