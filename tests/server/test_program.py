"""`gemcut serve` as a program: how it starts, serves and ends."""

import asyncio
import concurrent.futures
import http.client
import json
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gemcut import Gemma
from gemcut.server.program import SPARE_FILES, Server, listen
from gemcut.server.running import Running
from tests.server.programs import started
from tests.server.servers import PARIS, serving_of


def post(url: str, **fields: Any) -> Any:
    return httpx2.post(f"{url}/v1/chat/completions", json={"messages": PARIS, **fields}, timeout=60)


def in_flight(url: str) -> bool:
    return "gemcut_requests_in_flight 1.0" in httpx2.get(f"{url}/metrics").text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_at_its_end_it_lets_requests_end_and_takes_no_more(tiny_folder: Path, number: int) -> None:
    with started(str(tiny_folder)) as program, concurrent.futures.ThreadPoolExecutor() as pool:
        answer = pool.submit(post, program.url, max_tokens=400)
        while not in_flight(program.url):
            time.sleep(0.01)
        program.stop(number)
        done = answer.result()
        assert done.status_code == 200
        assert done.json()["usage"]["completion_tokens"] == 400
        assert program.wait() == 0
        assert [line["event"] for line in program.lines if line["event"] != "request"] == [
            "listening", "draining", "stopped",
        ]  # fmt: skip
        with pytest.raises(httpx2.ConnectError):
            post(program.url)


def test_a_second_signal_ends_it_at_once(tiny_folder: Path) -> None:
    with started(str(tiny_folder), "--drain", "60") as program:
        with httpx2.stream(
            "POST",
            f"{program.url}/v1/chat/completions",
            json={"messages": PARIS, "max_tokens": 450, "stream": True, "n": 8, "temperature": 1},
            timeout=60,
        ) as answer:
            pieces = answer.iter_bytes()
            next(pieces)
            program.stop()
            time.sleep(0.2)
            program.stop()
            start = time.monotonic()
            assert program.wait() == 0
        assert time.monotonic() - start < 15


def test_keys_come_from_the_environment_too(tiny_folder: Path) -> None:
    with started(str(tiny_folder), "--name", "mine", GEMCUT_API_KEY="one two") as program:
        assert post(program.url).status_code == 401
        answer = httpx2.get(f"{program.url}/v1/models", headers={"authorization": "Bearer two"})
        assert [model["id"] for model in answer.json()["data"]] == ["mine"]
        assert "one" not in json.dumps(program.lines)


def test_a_client_that_breaks_off_leaves_no_memory_in_use(tiny_folder: Path) -> None:
    with started(str(tiny_folder)) as program:
        body = json.dumps({"messages": PARIS, "max_tokens": 450, "stream": True}).encode()
        host, port = program.url.removeprefix("http://").split(":")
        for _ in range(5):
            with socket.create_connection((host, int(port))) as connection:
                head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: [::1]\r\nContent-Length: {len(body)}\r\n"
                connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
                connection.recv(100)
        end = time.monotonic() + 20
        while (
            'gemcut_pages_used{layers="full",model="tiny"} 0.0'
            not in httpx2.get(f"{program.url}/metrics").text
        ):
            assert time.monotonic() < end
            time.sleep(0.05)


@contextmanager
def in_a_thread(gemma: Gemma) -> Iterator[tuple[str, int]]:
    """Where a server of this process listens, until the block ends."""
    listening = listen("127.0.0.1", 0)
    host, port = listening.getsockname()
    server = Server(serving_of(gemma, "tiny"))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield host, port
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("sent", [b"", b"POST /v1/chat/completions HTTP/1.1\r\nX-Slow: "])
def test_who_never_ends_a_request_s_head_is_hung_up_on(
    tiny: Gemma, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """uvicorn waits for it without end, and a thousand such clients once kept all others out (slowloris)."""
    monkeypatch.setattr("gemcut.server.program.KEEP_ALIVE_S", 1)
    with in_a_thread(tiny) as place, socket.create_connection(place) as connection:
        connection.settimeout(0.1)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                connection.sendall(sent)
                if connection.recv(1) == b"":
                    return
            except TimeoutError:
                sent = sent and b"x"
            except ConnectionError:
                return
        raise AssertionError("the server waits on")


def test_a_connection_in_use_is_kept(tiny: Gemma, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = Running.pieces

    async def slow(self: Running) -> Any:
        await asyncio.sleep(2.5)
        async for found in pieces(self):
            yield found

    monkeypatch.setattr(Running, "pieces", slow)
    monkeypatch.setattr("gemcut.server.program.KEEP_ALIVE_S", 1)
    with in_a_thread(tiny) as place, closing(http.client.HTTPConnection(*place, timeout=20)) as client:
        client.connect()
        connection = client.sock
        body = json.dumps({"messages": PARIS, "max_tokens": 2})
        client.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        assert client.getresponse().read()
        for _ in range(8):
            client.request("GET", "/health")
            assert client.getresponse().read()
            assert client.sock is connection
            time.sleep(0.25)


def test_there_may_be_more_connections_than_files_usually_may_be_open(tiny_folder: Path) -> None:
    """1,024 is the usual limit and clients that wait are as many: the next was never told 429."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[0]), before[1]))
    try:
        with started(str(tiny_folder)) as running:
            soft, hard = resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert soft == min(hard, SPARE_FILES + 2 * 1024)


def test_a_port_in_use_is_told_in_one_line(tiny_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "gemcut", "serve", str(tiny_folder), "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"port {port} cannot be used: Address already in use" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_plain_http_gets_plain_answers(tiny_folder: Path) -> None:
    with started(str(tiny_folder)) as program:
        with urllib.request.urlopen(f"{program.url}/health", timeout=10) as answer:
            assert json.load(answer) == {"status": "ok"}
        host, port = program.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"GARBAGE\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 400")
