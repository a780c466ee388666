"""llama.cpp's own measurement, `llama-bench`, run as a program; its JSON is read.

Source: llama.cpp, tools/llama-bench, as in llama-cpp-python 0.3.36.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from gemcut.errors import BenchFailed
from gemcut.speed.order import About, Order, Taken

KIB = 1024


class LlamaBench:
    """A GGUF file in llama-bench.  Each order starts it twice, and each time it warms up by itself.

    flags: more of its own.  on_cpu: no layer on a GPU, whatever it was built with.
    """

    def __init__(self, program: str, file: str, threads: int, flags: Sequence[str], on_cpu: bool) -> None:
        layers = ["-ngl", "0"] if on_cpu else []
        usual = ["-m", file, "-t", str(threads), "-r", "1", "-o", "json"]
        self._command = [program, *usual, *layers, *flags]
        self._peak_bytes = 0
        self._title = "llama.cpp"

    def about(self) -> About:
        """What it is.  The memory is that of its larger run."""
        return About(title=self._title, peak_bytes=self._peak_bytes)

    def take(self, order: Order) -> Taken:
        """Raises BenchFailed where it fails, or measured something else."""
        shape = order.shape
        assert shape.batch == 1, "llama-bench reads one prompt at a time"
        length, count = shape.prompt_tokens, shape.new_tokens
        return Taken(
            prefill_s=self._seconds(n_prompt=length, n_gen=0, n_depth=0),
            step_s=self._seconds(n_prompt=0, n_gen=count, n_depth=length) / count,
        )

    def _seconds(self, **test: int) -> float:
        sizes = ["-p", str(test["n_prompt"]), "-n", str(test["n_gen"]), "-d", str(test["n_depth"])]
        result = self._run([*self._command, *sizes])
        if {name: result.get(name) for name in test} != test:
            raise BenchFailed(f"llama-bench was asked for {test} and did something else; take a newer one")
        build = f"{result.get('build_number', '?')} ({result.get('build_commit', '?')})"
        self._title = f"llama.cpp, build {build}, {result.get('backends', '?')}"
        return float(result["samples_ns"][0]) / 1e9

    def _run(self, command: Sequence[str]) -> Mapping[str, Any]:
        """The one result that it prints.  Its memory is asked of the system when it ends."""
        with tempfile.TemporaryFile("w+") as errors:
            program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
            assert program.stdout is not None
            with program.stdout as out:
                printed = out.read()
            _, status, usage = os.wait4(program.pid, 0)
            program.returncode = os.waitstatus_to_exitcode(status)
            errors.seek(0)
            said = errors.read().strip().splitlines()
        if program.returncode != 0:
            words = said[-1] if said else "it said nothing"
            raise BenchFailed(f"llama-bench ended with code {program.returncode}: {words}")
        self._peak_bytes = max(self._peak_bytes, KIB * usage.ru_maxrss)
        try:
            (result,) = json.loads(printed)
        except ValueError:
            start = " ".join(printed.split())[:80]
            raise BenchFailed(f"llama-bench did not print one result in JSON but {start!r}") from None
        found: Mapping[str, Any] = result
        return found
