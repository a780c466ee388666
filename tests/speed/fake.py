"""A program that stands for llama-bench: it takes its flags and prints its JSON, with made-up times."""

import json
import sys
from pathlib import Path

PREFILL_PER_S, DECODE_PER_S = 1000, 100
HELD_BYTES = 200 * 2**20  # of memory, while it runs

PROGRAM = """#!{python} -IS
import json, sys
if "--help" in sys.argv:
    print("usage: llama-bench [options]\\n  -d, --n-depth <n>")
    sys.exit()
with open({log!r}, "a") as log:
    print(json.dumps(sys.argv[1:]), file=log)
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
read, made, before = (int(given[flag]) for flag in ("-p", "-n", "-d"))
held = b"x" * {held}
nanoseconds = 10**9 * read // {prefill} + 10**9 * made // {decode}
print("load_backend: loaded CPU backend", file=sys.stderr)
{instead}
print(json.dumps([{{
    "build_commit": "abc1234", "build_number": 9000, "backends": "CPU", "model_filename": given["-m"],
    "n_threads": int(given["-t"]), "n_prompt": read, "n_gen": made, "n_depth": before,
    "avg_ns": nanoseconds, "samples_ns": [nanoseconds],
}}]))
"""


def write_llama_bench(folder: Path, instead: str = "") -> Path:
    """The program.  instead: what it does before it would print its result."""
    program = folder / "llama-bench"
    program.write_text(
        PROGRAM.format(
            python=sys.executable,
            log=str(folder / "calls"),
            held=HELD_BYTES,
            prefill=PREFILL_PER_S,
            decode=DECODE_PER_S,
            instead=instead,
        )
    )
    program.chmod(0o755)
    return program


def calls(folder: Path) -> list[list[str]]:
    """The arguments of each time that it was run."""
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]
