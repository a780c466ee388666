"""`gemcut serve` as a program: how it starts, serves and ends."""

import concurrent.futures
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.server.programs import started
from tests.server.servers import PARIS


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
