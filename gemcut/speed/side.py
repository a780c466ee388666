"""One side of a comparison, in a process of its own: its memory and its threads are its own."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Any, Literal

from gemcut.errors import BenchFailed
from gemcut.speed.order import About, Order, Taken

SideName = Literal["gemcut", "llama.cpp", "transformers"]

END_S = 60  # how long a process may take to end once it is told to


class Side:
    """A process of `gemcut.speed.worker`; it ends with the `with` block.

    given: what the side is built from; any of it that is wrong raises BenchFailed.
    about: what it is, once it has done an order.
    """

    def __init__(self, name: SideName, given: Mapping[str, Any]) -> None:
        self.name = name
        self.about: About | None = None
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, it is open as long as the process runs
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gemcut.speed.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        try:
            self._ask({"name": name, "given": given})
        except BaseException:
            self.close()
            raise

    def take(self, order: Order) -> Taken:
        """How long it takes for an order.  Raises BenchFailed where it cannot do it."""
        answer = self._ask(asdict(order))
        self.about = About(**answer["about"])
        return Taken(**answer["taken"])

    def close(self) -> None:
        """Ends the process."""
        try:
            self._process.communicate(timeout=END_S)  # closes its stdin, at whose end it ends
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._errors.close()

    def __enter__(self) -> "Side":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, said: Mapping[str, Any]) -> Mapping[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps(said), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._died() from None
        line = self._process.stdout.readline()
        if not line:
            raise self._died()
        answer: Mapping[str, Any] = json.loads(line)
        if "error" in answer:
            raise BenchFailed(f"{self.name}: {answer['error']}")
        return answer

    def _died(self) -> BenchFailed:
        """What to say of a process that ended without an answer: its own last words."""
        code = self._process.wait()
        self._errors.seek(0)
        words = [line for line in self._errors.read().splitlines() if line.strip()]
        last = words[-1].strip() if words else "it said nothing"
        if code < 0:
            last = f"signal {-code}, which memory that ran out looks like too; {last}"
        return BenchFailed(f"the process that measures {self.name} ended: {last}")
