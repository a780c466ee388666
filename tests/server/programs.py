"""`gemcut serve` as a program of its own."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

START_S = 120


@dataclass
class Program:
    """A running server: where it listens, and the lines of its log as they come."""

    process: subprocess.Popen[str]
    url: str
    lines: list[dict[str, Any]] = field(default_factory=list)

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(60)


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator[Program]:
    """A server with these arguments, at a port of its own; it is ended behind the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gemcut", "serve", *arguments, "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    program = Program(process, "")
    listening = threading.Event()
    reader = threading.Thread(target=_read, args=(program, listening), daemon=True)
    reader.start()
    try:
        assert listening.wait(START_S), "the server did not start"
        assert program.url, f"the server ended with {process.wait()}"
        yield program
    finally:
        process.kill()
        process.wait()
        reader.join()
        assert process.stderr is not None
        process.stderr.close()


def _read(program: Program, listening: threading.Event) -> None:
    assert program.process.stderr is not None
    for line in program.process.stderr:
        if line.startswith("{"):
            program.lines.append(json.loads(line))
            if program.lines[-1]["event"] == "listening":
                program.url = program.lines[-1]["url"]
                listening.set()
    listening.set()
