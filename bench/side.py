"""One side of a comparison in a process of its own: its memory and its threads are its own."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any


class Side:
    """A module of bench that runs `answer_orders`, with these arguments."""

    def __init__(self, module: str, arguments: Sequence[str]) -> None:
        command = [sys.executable, "-m", module, *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.facts = self._hear()

    def ask(self, order: Any) -> Any:
        """What it answers to an order; both are JSON.  Ends the program where it died."""
        assert self._process.stdin is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return self._hear()

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a side died; its error is above")
        return json.loads(line)


def answer_orders(facts: Any, answer: Callable[[Any], Any]) -> None:
    """What a side runs: tells its facts once it is ready, then answers each order on stdin."""
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
