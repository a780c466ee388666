"""Bodies that are too large, broken or hostile."""

import pytest
from starlette.testclient import TestClient

from gemcut import Gemma
from gemcut.server.app import build_app
from gemcut.server.fields import MOST_VALUES
from tests.server.servers import PARIS, client_of, serving_of

PATHS = ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/tokenize"]
HOSTILE = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"7",
    b'"text"',
    b"\xff\xfe",
    b'{"messages": NaN}',
    b'{"messages": Infinity}',
    b'{"a":' * 5000 + b"1" + b"}" * 5000,
    b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"user": "\\ud800", "messages": []}',
    b'{"max_tokens": ' + b"9" * 5000 + b"}",
    b'{"messages": 1e999}',
    b'{"messages": [' + b"1," * 5000 + b"1]}",
    b"{" + b",".join(b'"a%d": 1' % number for number in range(5000)) + b"}",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_no_request_is_refused(client: TestClient, path: str, body: bytes) -> None:
    answer = client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("values", [b"[]", b"{}", b"0"])
def test_a_body_of_nothing_but_values_is_not_read(client: TestClient, values: bytes) -> None:
    """64 MB of them once were gigabytes of objects, and as many faults to be told."""
    body = b'{"messages": [' + b",".join([values] * (MOST_VALUES + 1)) + b"]}"
    answer = client.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


@pytest.mark.parametrize("promised", [True, False])
def test_a_body_that_is_too_large_is_not_kept(tiny: Gemma, promised: bool) -> None:
    client = client_of(tiny, "tiny", most_body_bytes=1000)
    body = b'{"messages": "' + b"a" * 5000 + b'"}'
    content = body if promised else iter([body[:900], body[900:]])
    answer = client.post("/tokenize", content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    small = client.post("/v1/chat/completions", json={"messages": PARIS, "max_tokens": 1})
    assert small.status_code == 200


def test_bodies_that_fill_the_memory_for_them_are_told_to_come_again(tiny: Gemma) -> None:
    serving = serving_of(tiny, "tiny", most_held_bytes=1000)
    client = TestClient(build_app(serving))
    serving.bodies.held_bytes += 950
    answer = client.post("/tokenize", json={"prompt": "a" * 100})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert client.post("/tokenize", json={"prompt": "a"}).status_code == 200
    assert serving.bodies.held_bytes == 950
