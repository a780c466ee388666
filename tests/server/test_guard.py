"""Who may ask, what errors look like, and what is written down."""

import io
import json

import pytest
from starlette.testclient import TestClient

from gemcut import Gemma
from tests.server.servers import PARIS, client_of, refusal

KEYS = ("secret-1", "schlüssel-2")


@pytest.fixture(scope="module")
def locked(tiny: Gemma) -> TestClient:
    return client_of(tiny, "tiny", api_keys=KEYS)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer "},
        {"authorization": "Basic secret-1"},
        {"x-api-key": "secret-"},
        {"authorization": "secret-1"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/v1/nothing"])
def test_without_a_key_nobody_is_let_in(locked: TestClient, path: str, headers: dict[str, str]) -> None:
    answer = locked.get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
def test_each_key_opens(locked: TestClient, key: str, header: str) -> None:
    value = f"Bearer {key}" if header == "authorization" else key
    assert locked.get("/v1/models", headers={header: value.encode()}).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/ready", "/version", "/openapi.json"])
def test_probes_need_no_key(locked: TestClient, path: str) -> None:
    assert locked.get(path).status_code == 200


def test_errors_have_the_shape_of_the_api_that_was_asked(client: TestClient) -> None:
    openai = client.post("/v1/chat/completions", json={})
    assert set(openai.json()["error"]) == {"message", "type", "param", "code"}
    anthropic = client.post("/v1/messages", json={}).json()
    assert anthropic["type"] == "error"
    assert anthropic["error"]["type"] == "invalid_request_error"
    assert anthropic["request_id"].startswith("req_")


def test_paths_and_methods_that_do_not_exist_are_refused_as_everything_else(client: TestClient) -> None:
    for answer in (client.get("/v1/nothing"), client.post("/v1/embeddings", json={"input": "a"})):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    answer = client.get("/v1/chat/completions")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["error"]["code"] == "wrong_method"


def test_the_log_has_a_line_for_each_request_without_what_was_said(tiny: Gemma) -> None:
    log = io.StringIO()
    client = client_of(tiny, "tiny", log)
    said = [{"role": "user", "content": "my secret"}]
    answer = client.post("/v1/chat/completions", json={"messages": said, "max_tokens": 3, "user": "ann"})
    client.get("/health")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert len(lines) == 1
    line = lines[0]
    assert line["event"] == "request"
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["status"], line["model"], line["completion_tokens"], line["user"]) == (200, "tiny", 3, "ann")
    assert "secret" not in log.getvalue()
    assert answer.json()["choices"][0]["message"]["content"] not in log.getvalue()


def test_the_log_has_what_was_said_where_the_operator_asks_for_it(tiny: Gemma) -> None:
    log = io.StringIO()
    client_of(tiny, "tiny", log, log_prompts=True).post(
        "/v1/chat/completions", json={"messages": PARIS, "max_tokens": 1}
    )
    assert "Paris" in json.loads(log.getvalue())["body"]


def test_a_fault_of_our_own_is_500_and_its_trace_is_in_the_log(
    tiny: Gemma, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = io.StringIO()
    client = client_of(tiny, "tiny", log)

    def fail(*_: object) -> None:
        raise KeyError("something of ours")

    monkeypatch.setattr(Gemma, "live", fail)
    status, error = refusal(client, "/v1/chat/completions", messages=PARIS)
    assert (status, error["code"]) == (500, "internal_error")
    assert "something of ours" not in error["message"]
    assert "something of ours" in log.getvalue()


def test_pages_of_other_hosts_may_ask_only_where_they_are_allowed(tiny: Gemma) -> None:
    def allowed(origins: tuple[str, ...]) -> str | None:
        client = client_of(tiny, "tiny", cors_origins=origins, api_keys=("k",))
        answer = client.get("/v1/models", headers={"origin": "https://a.example"})
        assert answer.status_code == 401
        return answer.headers.get("access-control-allow-origin")

    assert allowed(()) is None
    assert allowed(("https://b.example",)) is None
    assert allowed(("https://a.example",)) == "https://a.example"
    assert allowed(("*",)) == "*"


def test_a_form_that_a_strange_page_can_send_is_refused(client: TestClient) -> None:
    body = json.dumps({"messages": PARIS})
    answer = client.post("/v1/chat/completions", content=body, headers={"content-type": "text/plain"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "wrong_type")


def test_requests_are_counted_by_what_they_asked_not_by_whom(client: TestClient) -> None:
    """The page takes every path that nobody else does, and each once became a label of its own."""
    for name in ("a", "e"):
        client.get(f"/v1/responses/{name}")
        client.get(f"/nowhere/{name}")
    client.get("/v1/models/google/tiny")
    text = client.get("/metrics").text
    assert 'gemcut_requests_total{route="/v1/responses/{response_id}",status="404"}' in text
    assert 'gemcut_requests_total{route="/v1/models/{model}",status="200"}' in text
    assert 'gemcut_requests_total{route="other",status="404"}' in text
    assert "nowhere" not in text
    assert "spons{" not in text
