"""Tools of an MCP server that runs as a program of its own (tests/mcp_example.py)."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gemcut import McpServer, MediaPart
from gemcut.agent import Agent, AgentOptions
from gemcut.errors import BadOption, McpFailed
from gemcut.prompt.messages import ToolCall
from gemcut.toolbox import Toolbox
from tests.scripted import Scripted, calls, says

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-m", "tests.mcp_example"]


@pytest.fixture(scope="module")
def server() -> Iterator[McpServer]:
    with McpServer.stdio(COMMAND, cwd=ROOT) as server:
        yield server


def test_its_tools_are_declared_as_the_server_declares_them(server: McpServer) -> None:
    declared = {tool.declaration["name"]: tool.declaration for tool in server.tools}
    assert list(declared) == ["add", "photo", "fail"]
    assert declared["add"]["description"] == "Add two numbers."
    assert declared["add"]["parameters"]["properties"]["first"]["type"] == "integer"
    assert declared["add"]["parameters"]["required"] == ["first", "second"]


def test_an_agent_mixes_them_with_functions(server: McpServer) -> None:
    def shout(text: str) -> str:
        return text.upper()

    model = Scripted(
        calls(("add", {"first": 2, "second": 3}), ("shout", {"text": "ha"}), ("photo", {})),
        says("5, HA and a photo."),
    )
    run = Agent(model, [*server.tools, shout], AgentOptions(None, 3, 3)).run("Do all of it.")
    added, shouted, photo = [result.content for result in run.results]
    assert (added, shouted) == ("5", "HA")
    assert photo[0] == "a photo:"
    assert isinstance(photo[1], MediaPart)
    assert photo[1].source.startswith(b"\x89PNG")


def test_what_fails_there_is_the_result(server: McpServer) -> None:
    box = Toolbox(server.tools)
    assert "no such reason" in str(box.run(ToolCall("fail", {"reason": "no such reason"})).content)
    assert "second" in str(box.run(ToolCall("add", {"first": 1})).content)


def test_threads_may_call_at_once(server: McpServer) -> None:
    box, sums = Toolbox(server.tools), {}

    def add(number: int) -> None:
        sums[number] = box.run(ToolCall("add", {"first": number, "second": 1})).content

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sums == {number: str(number + 1) for number in range(8)}


def test_a_server_at_a_url_is_the_same() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = subprocess.Popen([*COMMAND, str(port)], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        with McpServer.http(f"http://127.0.0.1:{port}/mcp", headers={"X-Key": "secret"}) as server:
            assert Toolbox(server.tools).run(ToolCall("add", {"first": 20, "second": 3})).content == "23"
        assert server.tools == ()
    finally:
        program.terminate()
        program.wait(10)


def wait_for(port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on {port}")


@pytest.mark.parametrize("command", [["/no/such/program"], [sys.executable, "-c", "print('no protocol')"]])
def test_a_program_that_is_no_server_is_named(command: list[str]) -> None:
    with pytest.raises(McpFailed, match="cannot be used") as error, McpServer.stdio(command):
        pass
    assert command[0] in str(error.value)


def test_a_program_that_never_answers_is_given_up() -> None:
    silent = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(McpFailed, match="(?i)timed out"), McpServer.stdio(silent, timeout_s=0.5):
        pass


def test_without_the_package_the_error_installs_it_as_the_readme_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(BadOption, match="need the package mcp") as error, McpServer.stdio(["server"]):
        pass
    command = str(error.value).partition("repository: ")[2]
    assert command.startswith("pip install")
    assert command in (ROOT / "README.md").read_text()


def test_a_command_is_a_list() -> None:
    with pytest.raises(BadOption, match="give a list"):
        McpServer.stdio("python server.py")  # type: ignore[arg-type]
