"""The life of a request: silence, slowness, clients that leave, faults in the middle."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from gemcut import Gemma
from gemcut.engine.options import EngineOptions
from gemcut.errors import EngineFailed
from gemcut.server.app import build_app
from gemcut.server.running import Running
from tests.server.servers import PARIS, client_of, refusal, serving_of

LONG = {"messages": PARIS, "max_tokens": 400}


class Connection:
    """One request to an application, as a web server would pass it on."""

    def __init__(self, path: str, fields: dict[str, Any]) -> None:
        body = json.dumps(fields).encode()
        self.scope = {
            "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
            "root_path": "", "scheme": "http", "server": ("test", 80), "client": ("test", 1),
            "headers": [(b"content-type", b"application/json")], "http_version": "1.1",
        }  # fmt: skip
        self.sent: list[dict[str, Any]] = []
        self.gone = asyncio.Event()
        self._inbox = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive(self) -> dict[str, Any]:
        if self._inbox:
            return self._inbox.pop(0)
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(dict(message))

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()


def running_sequences(gemma: Gemma) -> int:
    state = gemma.occupancy()
    return state.running + state.waiting


async def until(condition: Callable[[], bool], most_s: float = 20) -> None:
    end = time.monotonic() + most_s
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("stream", [True, False])
def test_who_leaves_frees_its_memory_at_once(tiny: Gemma, stream: bool) -> None:
    async def work() -> None:
        app = build_app(serving_of(tiny, "tiny"))
        connection = Connection("/v1/chat/completions", {**LONG, "stream": stream, "n": 2, "temperature": 1})
        task = asyncio.ensure_future(app(connection.scope, connection.receive, connection.send))
        await until(lambda: running_sequences(tiny) == 2)
        connection.gone.set()
        await asyncio.wait_for(task, 5)
        await until(lambda: running_sequences(tiny) == 0, 2)
        state = tiny.occupancy()
        assert (state.full_pages_used, state.sliding_pages_used) == (0, 0)
        assert "finish_reason" not in connection.text.replace('"finish_reason":null', "")

    asyncio.run(work())


def test_who_leaves_while_it_waits_is_forgotten(tiny: Gemma) -> None:
    async def work() -> None:
        serving = serving_of(tiny, "tiny", most_in_flight=1)
        app = build_app(serving)
        first, second = (Connection("/v1/chat/completions", LONG) for _ in range(2))
        tasks = [asyncio.ensure_future(app(c.scope, c.receive, c.send)) for c in (first, second)]
        await until(lambda: serving.admission.waiting == 1)
        second.gone.set()
        await until(lambda: serving.admission.waiting == 0)
        first.gone.set()
        await asyncio.gather(*tasks)
        assert serving.admission.in_flight == 0

    asyncio.run(work())


def test_pings_come_in_silence(tiny: Gemma, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = Running.pieces

    async def slow(self: Running) -> Any:
        for _ in range(3):
            self.wake()
            await asyncio.sleep(0.05)
            yield []
        async for found in pieces(self):
            yield found

    monkeypatch.setattr(Running, "pieces", slow)
    client = client_of(tiny, "tiny", ping_s=0.02)
    text = client.post("/v1/chat/completions", json={**LONG, "max_tokens": 2, "stream": True}).text
    assert text.count(": ping\n\n") >= 2


def test_a_request_that_takes_too_long_ends(tiny: Gemma) -> None:
    client = client_of(tiny, "tiny", request_s=0.05)
    status, error = refusal(client, "/v1/chat/completions", **LONG)
    assert (status, error["code"]) == (503, "timeout")
    asyncio.run(until(lambda: running_sequences(tiny) == 0))


def test_who_reads_no_more_is_not_held_on_to(tiny: Gemma, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for its request was over, and then it was told so for ever."""
    monkeypatch.setattr("gemcut.server.endpoint.GOODBYE_S", 0.05)

    async def work() -> None:
        serving = serving_of(tiny, "tiny", request_s=1)
        connection = Connection("/v1/chat/completions", {**LONG, "stream": True})

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()

        await asyncio.wait_for(build_app(serving)(connection.scope, connection.receive, send), 5)
        assert (serving.admission.in_flight, serving.bodies.held_bytes) == (0, 0)
        await until(lambda: running_sequences(tiny) == 0)

    asyncio.run(work())


FAULTS = [EngineFailed("the engine stopped: on fire; load the model anew"), RuntimeError("of ours")]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/chat/completions", {"messages": PARIS}),
        ("/v1/completions", {"prompt": "Hi"}),
        ("/v1/messages", {"messages": PARIS, "max_tokens": 9, "model": "tiny"}),
        ("/v1/responses", {"input": "Hi"}),
    ],
)
def test_a_fault_in_the_middle_of_a_stream_is_told_as_an_event(
    tiny: Gemma, monkeypatch: pytest.MonkeyPatch, path: str, fields: dict[str, Any], fault: Exception
) -> None:
    pieces = Running.pieces

    async def broken(self: Running) -> Any:
        async for found in pieces(self):
            yield found
            if found:
                raise fault

    monkeypatch.setattr(Running, "pieces", broken)
    client = client_of(tiny, "tiny")
    answer = client.post(path, json=fields | {"stream": True})
    assert answer.status_code == 200
    last = [line for line in answer.text.splitlines() if line.startswith("data: ")][-1]
    assert "error" in json.loads(last.removeprefix("data: ")).get("response", json.loads(last[6:]))
    assert "of ours" not in answer.text
    asyncio.run(until(lambda: running_sequences(tiny) == 0))
    whole = client.post(path, json=fields)
    assert whole.status_code == (503 if isinstance(fault, EngineFailed) else 500)


def test_an_engine_that_failed_is_unhealthy(tiny: Gemma) -> None:
    broken = Gemma(tiny._loaded, EngineOptions(max_running=2))
    client = client_of(broken, "tiny")
    assert client.get("/health").status_code == 200
    broken.close()
    assert client.get("/health").status_code == 503
    assert refusal(client, "/v1/chat/completions", **LONG)[0] == 503


def test_many_at_once_get_what_each_gets_alone(tiny: Gemma) -> None:
    async def work() -> None:
        app = build_app(serving_of(tiny, "tiny", most_in_flight=6))
        said = [[{"role": "user", "content": f"Question {number}"}] for number in range(24)]
        alone = [tiny.reply(messages).text[:30] for messages in said[:3]]
        connections = [
            Connection(
                "/v1/chat/completions", {"messages": messages, "stream": number % 2 == 0, "max_tokens": 30}
            )
            for number, messages in enumerate(said)
        ]
        await asyncio.gather(*(app(c.scope, c.receive, c.send) for c in connections))
        for connection, text in zip(connections, alone, strict=False):
            told = [json.loads(line.removeprefix("data: ")) for line in connection.text.split("\n\n")
                    if line.startswith(("data: {", "{"))]  # fmt: skip
            parts = [choice for each in told for choice in each["choices"]]
            made = "".join(part.get("delta", part.get("message"))["content"] for part in parts
                           if "content" in part.get("delta", part.get("message")))  # fmt: skip
            assert made == text
        await until(lambda: running_sequences(tiny) == 0)

    asyncio.run(work())
