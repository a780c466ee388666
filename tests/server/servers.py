"""Servers within the test's own process, and what their answers hold."""

import io
import json
from typing import Any

from starlette.testclient import TestClient

from gemcut import Gemma
from gemcut.server.app import build_app
from gemcut.server.log import Log
from gemcut.server.models import Models, Served
from gemcut.server.options import ServerOptions
from gemcut.server.serving import Serving

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "The sum of two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}
PARIS = [{"role": "user", "content": "What is the weather in Paris?"}]
SUM = "What is 274 + 389?"


def serving_of(gemma: Gemma, name: str, log: io.StringIO | None = None, **options: Any) -> Serving:
    served = Served(gemma, (name, f"google/{name}"), created=1)
    return Serving.of(Models([served]), ServerOptions(**options), Log(io.StringIO() if log is None else log))


def client_of(gemma: Gemma, name: str, log: io.StringIO | None = None, **options: Any) -> TestClient:
    return TestClient(build_app(serving_of(gemma, name, log, **options)), raise_server_exceptions=False)


def chat(client: TestClient, content: Any = "Hi", **fields: Any) -> Any:
    """The answer to one message, as a dict; the test fails unless it is 200."""
    said = content if isinstance(content, list) else [{"role": "user", "content": content}]
    answer = client.post("/v1/chat/completions", json={"messages": said, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def refusal(client: TestClient, path: str, **fields: Any) -> tuple[int, dict[str, Any]]:
    """The status and the error of a request that is refused."""
    answer = client.post(path, json=fields)
    return answer.status_code, answer.json()["error"]


def chunks(text: str) -> list[dict[str, Any]]:
    """The data of a stream's events, without the [DONE]."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]
