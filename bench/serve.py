"""The server under load, on this machine: many streaming clients; some leave, err, or send too much.

    python -m bench.serve [--model nano] [--clients 200] [--seconds 120]

Reported: requests by how they ended, time to the first token and between tokens as clients see it, its
memory over time, pages in use at the end, and its CPU time a token beside that of the engine alone.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

PLAN = {"good": 0.90, "leaves": 0.05, "bad": 0.03, "large": 0.02}
TOKENS = 48
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
WARM_SHARE = 0.25  # of the time, before memory is to be flat


@dataclass
class Seen:
    """What clients saw."""

    ended: Counter[str] = field(default_factory=Counter)
    first_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    tokens: int = 0


def body_of(kind: str, number: int) -> bytes:
    """A request's body."""
    said = [{"role": "user", "content": f"What is {number} + {number // 3}? Tell me a long story too."}]
    fields: dict[str, Any] = {
        "messages": said,
        "stream": True,
        "max_tokens": TOKENS,
        "min_tokens": TOKENS - 1,
    }
    fields |= {"temperature": 1.0, "seed": number, "stream_options": {"include_usage": True}}
    if kind == "bad":
        fields["temprature"] = 1
    if kind == "large":
        said[0]["content"] = "a" * 2_000_000
    return json.dumps(fields).encode()


async def client(host: str, port: int, seed: int, end: float, seen: Seen) -> None:
    """Asks until the time is over."""
    draws = random.Random(seed)
    while time.monotonic() < end:
        kind = draws.choices(list(PLAN), list(PLAN.values()))[0]
        try:
            outcome = await exchange(host, port, kind, draws.randrange(10**6), seen)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            outcome = f"broken ({type(error).__name__})"
        seen.ended[f"{kind}: {outcome}"] += 1


async def exchange(host: str, port: int, kind: str, number: int, seen: Seen) -> str:
    """One request; how it ended."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        body = body_of(kind, number)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        start = time.perf_counter()
        writer.write(head.encode() + body)
        status = (await reader.readline()).split()[1].decode()
        if status != "200":
            return status
        last, pieces = 0.0, 0
        async for line in reader:
            if b'"content":"' not in line or b'"role"' in line:
                if line.startswith(b"data: [DONE]"):
                    return "whole"
                if b'"usage":{' in line:
                    seen.tokens += json.loads(line[6:])["usage"]["completion_tokens"]
                continue
            now = time.perf_counter()
            if pieces:
                seen.gaps_s.append(now - last)
            else:
                seen.first_s.append(now - start)
            last, pieces = now, pieces + 1
            if kind == "leaves" and pieces == 5:
                return "left"
        return "broken off"
    finally:
        writer.close()


def memory_bytes(pid: int) -> int:
    """What a process holds in memory."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * PAGE_BYTES


def cpu_s(pid: int) -> float:
    """CPU time of a process, all threads."""
    with open(f"/proc/{pid}/stat") as file:
        parts = file.read().rsplit(")", 1)[1].split()
    return (int(parts[11]) + int(parts[12])) / TICKS


async def load(args: argparse.Namespace, pid: int, host: str, port: int) -> tuple[Seen, list[int]]:
    """Runs all clients; what they saw, and the server's memory every second."""
    seen, memory = Seen(), []
    end = time.monotonic() + args.seconds
    tasks = [asyncio.ensure_future(client(host, port, seed, end, seen)) for seed in range(args.clients)]
    while any(not task.done() for task in tasks):
        memory.append(memory_bytes(pid))
        await asyncio.sleep(1)
    await asyncio.gather(*tasks)
    return seen, memory


def engine_alone(model: str, requests: int) -> float:
    """CPU seconds a token of the engine, whose tokens nobody reads as text."""
    from gemcut.api import Gemma
    from gemcut.engine.sampling_params import SamplingParams

    gemma = Gemma.load(model, device="cpu")

    def run(count: int, base: int) -> int:
        starts = []
        for number in range(base, base + count):
            said = json.loads(body_of("good", number))["messages"]
            params = SamplingParams(temperature=1.0, seed=number, max_tokens=TOKENS, min_tokens=TOKENS - 1)
            choosing = gemma._generator.chat_choosing(params, None, False)
            starts.append(gemma._generator.prepare(gemma.prompt(said), choosing))
        streams = [stream for start in starts for stream in start()]
        return sum(1 for stream in streams for _ in stream)

    run(16, 0)
    start, tokens = time.process_time(), run(requests, 1000)
    return (time.process_time() - start) / tokens


def percentiles(values: list[float]) -> str:
    """p50 and p99 in milliseconds."""
    cuts = statistics.quantiles(values, n=100)
    return f"p50 {1000 * cuts[49]:.1f} ms, p99 {1000 * cuts[98]:.1f} ms"


def report(args: argparse.Namespace, seen: Seen, memory: list[int], server_s: float) -> None:
    """Prints what was measured."""
    for how, count in sorted(seen.ended.items()):
        print(f"{how:28} {count}")
    warm = memory[int(len(memory) * WARM_SHARE) :]
    print(f"time to the first token      {percentiles(seen.first_s)}")
    print(f"between tokens               {percentiles(seen.gaps_s)}")
    print(f"tokens                       {seen.tokens} ({seen.tokens / args.seconds:.0f}/s)")
    print(f"memory after warm-up         {min(warm) / 1e6:.0f} to {max(warm) / 1e6:.0f} MB")
    alone_s = float(
        subprocess.run(
            [sys.executable, "-m", "bench.serve", "--model", args.model, "--engine"],
            capture_output=True, text=True, check=True,
        ).stdout
    )  # fmt: skip
    each = server_s / max(1, seen.tokens)
    print(f"CPU a token                  {1000 * each:.3f} ms; the engine alone {1000 * alone_s:.3f} ms")
    print(f"the server's own             {1000 * (each - alone_s):.3f} ms")


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="nano")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--engine", action="store_true")
    args = parser.parse_args()
    if args.engine:
        print(engine_alone(args.model, 400))
        return
    command = [sys.executable, "-m", "gemcut", "serve", args.model, "--port", "0", "--max-body-mb", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        url = next(json.loads(line)["url"] for line in server.stderr if '"listening"' in line)
        drain = subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
        host, port = url.removeprefix("http://").split(":")
        before = cpu_s(server.pid)
        seen, memory = asyncio.run(load(args, server.pid, host, int(port)))
        spent = cpu_s(server.pid) - before
        used = subprocess.run(
            ["curl", "-s", f"{url}/metrics"], capture_output=True, text=True, check=True
        ).stdout
        server.terminate()
        server.wait()
        drain.wait()
    report(args, seen, memory, spent)
    print(*(line for line in used.splitlines() if line.startswith("gemcut_pages_used")), sep="\n")


if __name__ == "__main__":
    main()
