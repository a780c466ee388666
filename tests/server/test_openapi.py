"""/openapi.json is true: what is served follows it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import jsonschema
import pytest
from starlette.testclient import TestClient

from gemcut.server.chat_fields import ChatRequest
from gemcut.server.completion_fields import CompletionRequest
from gemcut.server.fields import Fields, Refused
from gemcut.server.messages_fields import MessagesRequest
from gemcut.server.response_fields import ResponseRequest
from gemcut.server.transcription_fields import TranscriptionRequest
from tests.server.servers import PARIS, SUM, WEATHER

POSTS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"messages": PARIS, "tools": [WEATHER]}),
    ("/v1/chat/completions", {"messages": PARIS, "logprobs": True, "top_logprobs": 1, "max_tokens": 3}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": SUM}], "reasoning_effort": "low"}),
    ("/v1/completions", {"prompt": "a", "echo": True, "logprobs": 1}),
    ("/v1/completions", {"prompt": ["a", "b"]}),
    ("/v1/messages", {"messages": PARIS, "model": "nano", "max_tokens": 3}),
    (
        "/v1/messages",
        {"messages": PARIS, "model": "nano", "max_tokens": 60, "thinking": {"type": "adaptive"}},
    ),
    ("/v1/messages/count_tokens", {"messages": PARIS, "model": "nano"}),
    ("/v1/responses", {"input": SUM, "reasoning": {"effort": "low"}, "top_logprobs": 1}),
    ("/v1/responses", {"input": PARIS[0]["content"], "tools": [{"type": "function", **WEATHER["function"]}]}),  # type: ignore[dict-item]
    ("/v1/conversations", {"items": [{"role": "user", "content": "Hi"}]}),
    ("/tokenize", {"prompt": "a", "return_token_strs": True}),
    ("/detokenize", {"tokens": [5]}),
]


@pytest.fixture(scope="module")
def document(nano_client: TestClient) -> Any:
    return nano_client.get("/openapi.json").json()


def schema_of(document: Any, path: str, method: str, status: str = "200") -> Any:
    schema = document["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"]
    return {**schema, "components": document["components"]}


def fits(value: Any, schema: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


@pytest.mark.parametrize(("path", "fields"), POSTS)
def test_answers_are_as_declared(
    nano_client: TestClient, document: Any, path: str, fields: dict[str, Any]
) -> None:
    answer = nano_client.post(path, json=fields)
    assert answer.status_code == 200, answer.text
    jsonschema.Draft202012Validator(schema_of(document, path, "post")).validate(answer.json())
    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    declared = {**body, "components": document["components"]}
    assert fits(fields, declared)
    assert not fits(fields | {"unknown": 1}, declared)


@pytest.mark.parametrize("path", ["/v1/models", "/health", "/ready", "/version"])
def test_what_the_server_says_of_itself_is_as_declared(
    nano_client: TestClient, document: Any, path: str
) -> None:
    assert fits(nano_client.get(path).json(), schema_of(document, path, "get"))


def test_errors_are_as_declared(nano_client: TestClient, document: Any) -> None:
    for path, methods in document["paths"].items():
        taken = methods.get("post", {}).get("requestBody", {}).get("content", {})
        if "application/json" in taken and "{" not in path:
            answer = nano_client.post(path, json={"unknown": 1})
            assert fits(answer.json(), schema_of(document, path, "post", str(answer.status_code)))


def test_stored_things_are_as_declared(nano_client: TestClient, document: Any) -> None:
    made = nano_client.post("/v1/responses", json={"input": "Hi", "max_output_tokens": 2}).json()["id"]
    talk = nano_client.post("/v1/conversations", json={}).json()["id"]
    for kind, name in (("response", made), ("conversation", talk)):
        for tail in ("", "/input_items" if kind == "response" else "/items"):
            place = f"/v1/{kind}s/{{{kind}_id}}{tail}"
            answer = nano_client.get(f"/v1/{kind}s/{name}{tail}")
            assert fits(answer.json(), schema_of(document, place, "get"))
            missing = nano_client.get(f"/v1/{kind}s/x{tail}")
            assert fits(missing.json(), schema_of(document, place, "get", "404"))


def test_every_refused_field_says_why(document: Any) -> None:
    chat = document["components"]["schemas"]["ChatRequest"]["properties"]
    assert chat["store"] == {
        "enum": [False, None],
        "description": "Refused with any other value: chats are not stored; /v1/responses are",
    }


DOCS = Path(__file__).resolve().parents[2] / "docs/server.md"
MARK = "<!-- {}: tests/server/test_openapi.py writes them -->"


def routes_table(document: Any) -> str:
    lines = ["| | |", "|---|---|"]
    for path, methods in document["paths"].items():
        lines += [f"| {method.upper()} {path} | {does['summary']} |" for method, does in methods.items()]
    return "\n".join(lines)


def refused_table() -> str:
    lines = ["| in | field | passes | why not |", "|---|---|---|---|"]
    for name, model in (
        ("chat", ChatRequest),
        ("completions", CompletionRequest),
        ("messages", MessagesRequest),
        ("responses", ResponseRequest),
        ("transcriptions", TranscriptionRequest),
    ):
        for field, refused in dict(refusals(model)).items():
            passes = ", ".join(f"`{json.dumps(value)}`" for value in refused.neutral)
            lines.append(f"| {name} | `{field}` | {passes} | {refused.reason} |")
    return "\n".join(lines)


def refusals(model: type[Fields], place: str = "") -> Iterator[tuple[str, Refused]]:
    """All fields of a request that are refused, by where they are; those of its parts last."""
    for name, refused in model.refused.items():
        yield f"{place}{name}", refused
    for name, field in model.model_fields.items():
        for part, brackets in parts_of(field.annotation):
            yield from refusals(part, f"{place}{field.alias or name}{brackets}.")


def parts_of(annotation: Any, brackets: str = "") -> Iterator[tuple[type[Fields], str]]:
    """The models in a field's type, and a pair of brackets for each list around them."""
    if isinstance(annotation, type) and issubclass(annotation, Fields):
        yield annotation, brackets
    for inner in get_args(annotation):
        yield from parts_of(inner, brackets + "[]" * (get_origin(annotation) is list))


@pytest.mark.parametrize("section", ["routes", "refused"])
def test_the_docs_say_what_there_is(document: Any, section: str) -> None:
    """With GEMCUT_WRITE_DOCS=1 it writes them."""
    table = routes_table(document) if section == "routes" else refused_table()
    before, after = DOCS.read_text().split(MARK.format(section))
    rest = after.lstrip("\n")
    rest = rest[rest.index("\n\n") :] if rest.startswith("|") else "\n\n" + rest
    wanted = f"{before}{MARK.format(section)}\n\n{table}{rest}"
    if os.environ.get("GEMCUT_WRITE_DOCS"):
        DOCS.write_text(wanted)
    assert DOCS.read_text() == wanted
