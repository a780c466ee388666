"""The server under load, on this machine: many streaming clients; some leave, err, or send too much.

    python -m bench.serve [--model nano] [--clients 200] [--seconds 120] [--threads 1]

Told: requests by how they ended, time to the first token and between tokens as clients see it, the server's
memory, its pages in use at the end, and its CPU time a token beside that of the engine alone. Ends with 1
where something is not as it should be: a good request that was not answered whole, a bad one that was not
refused, pages still in use, memory that grows by more than 5 % after the first quarter, or more than 0.3 ms.
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
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

SHARES = {"good": 0.85, "leaves": 0.08, "bad": 0.05, "large": 0.02}  # of the requests
RIGHT_ENDS = {"good": {"whole"}, "leaves": {"left", "whole"}, "bad": {"400", "404"}, "large": {"413"}}
TOKENS = 48
MOST_GROWTH, MOST_OWN_MS = 0.05, 0.3
MOST_BODY_MB, LARGE_BYTES = 1, 2_000_000
CACHE_BYTES = 20 * 2**20  # pages count as the server's memory once they were used: few are soon warm
WARM_SHARE = 0.25  # of the time, before memory is to be flat
LONGEST_WAIT_S = 2.0  # of a client that leaves without a word
EMPTY_S = 10.0  # in which the server has to have forgotten everybody
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Seen:
    """What clients saw.  memory: the server's, each second."""

    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    first_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    tokens: int = 0
    memory: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Server:
    """A server at work: its process, and where it listens."""

    process: subprocess.Popen[str]
    url: str

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    @property
    def memory_bytes(self) -> int:
        """What it holds in memory."""
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * PAGE_BYTES

    @property
    def cpu_s(self) -> float:
        """CPU time until now, of all threads."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            parts = file.read().rsplit(")", 1)[1].split()
        return (int(parts[11]) + int(parts[12])) / TICKS

    def held(self) -> dict[str, float]:
        """What it holds for requests: pages, sequences, requests."""
        with urllib.request.urlopen(f"{self.url}/metrics") as answer:
            lines = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines()]
        kinds = (
            "gemcut_pages_used",
            "gemcut_sequences",
            "gemcut_requests_in_flight",
            "gemcut_requests_waiting",
        )
        return {name: float(value) for name, value in lines if name.startswith(kinds)}


@contextmanager
def serving(args: argparse.Namespace) -> Iterator[Server]:
    """A server, until the block ends; its log is thrown away."""
    options = ["--port", "0", "--max-body-mb", str(MOST_BODY_MB), "--cache-bytes", str(CACHE_BYTES)]
    command = [sys.executable, "-m", "gemcut", "serve", args.model, *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment(args)) as process:
        assert process.stderr is not None
        url = next(json.loads(line)["url"] for line in process.stderr if '"listening"' in line)
        rest = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        try:
            yield Server(process, url)
        finally:
            process.terminate()
            process.wait()
            rest.wait()


def environment(args: argparse.Namespace) -> dict[str, str]:
    """OpenMP's threads spin while they wait, which would count as work."""
    return os.environ | {"OMP_NUM_THREADS": str(args.threads)}


def question(number: int) -> list[dict[str, str]]:
    """What is asked, differing from request to request."""
    return [{"role": "user", "content": f"What is {number} + {number // 3}? Tell me a long story too."}]


def sampling(number: int) -> dict[str, Any]:
    """How it is answered: always so many tokens."""
    return {"temperature": 1.0, "seed": number, "max_tokens": TOKENS, "min_tokens": TOKENS - 1}


def body_of(kind: str, draws: random.Random) -> bytes:
    """A request's body."""
    number = draws.randrange(10**6)
    fields: dict[str, Any] = {"messages": question(number), "stream": True, **sampling(number)}
    fields["stream_options"] = {"include_usage": True}
    if kind == "large":
        fields["messages"][0]["content"] = "a" * LARGE_BYTES
    if kind == "bad":
        wrong = [{"temprature": 1}, {"max_tokens": "many"}, {"messages": []}, {"model": "none"}, {"top_p": 7}]
        fields |= draws.choice(wrong)
    data = json.dumps(fields).encode()
    return data[: draws.randrange(1, len(data))] if kind == "bad" and draws.random() < 0.2 else data


class Client:
    """One after the other, requests of all kinds."""

    def __init__(self, place: tuple[str, int], seed: int, seen: Seen) -> None:
        self._place = place
        self._draws = random.Random(seed)
        self._seen = seen

    async def run(self, end: float) -> None:
        """Asks until the time is over."""
        while time.monotonic() < end:
            kind = self._draws.choices(list(SHARES), list(SHARES.values()))[0]
            try:
                outcome = await self._exchange(kind)
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                outcome = f"broken ({type(error).__name__})"
            self._seen.ended[kind, outcome] += 1

    async def _exchange(self, kind: str) -> str:
        """One request; how it ended."""
        reader, writer = await asyncio.open_connection(*self._place)
        try:
            body = body_of(kind, self._draws)
            head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            start = time.perf_counter()
            writer.write(head.encode() + body)
            if kind == "leaves" and self._draws.random() < 0.5:  # before or after the first word
                await asyncio.sleep(self._draws.uniform(0, LONGEST_WAIT_S))
                return "left"
            status = (await reader.readline()).split()[1].decode()
            if status != "200":
                return status
            most = self._draws.randrange(1, TOKENS // 2) if kind == "leaves" else None
            return await self._stream(reader, start, most)
        finally:
            writer.close()

    async def _stream(self, reader: asyncio.StreamReader, start: float, most: int | None) -> str:
        """Reads a stream, up to so many pieces of text; how it ended."""
        seen, last, pieces = self._seen, start, 0
        async for line in reader:
            if line.startswith(b"data: [DONE]"):
                return "whole"
            if b'"usage":{' in line:
                seen.tokens += json.loads(line[6:])["usage"]["completion_tokens"]
            if b'"content":"' not in line or b'"role"' in line:
                continue
            now = time.perf_counter()
            (seen.gaps_s if pieces else seen.first_s).append(now - last)
            last, pieces = now, pieces + 1
            if pieces == most:
                seen.tokens += pieces
                return "left"
        return "broken off"


async def load(args: argparse.Namespace, server: Server) -> Seen:
    """Runs all clients."""
    seen, end = Seen(), time.monotonic() + args.seconds
    clients = [Client(server.place, seed, seen) for seed in range(args.clients)]
    tasks = [asyncio.ensure_future(client.run(end)) for client in clients]
    while any(not task.done() for task in tasks):
        seen.memory.append(server.memory_bytes)
        await asyncio.sleep(1)
    await asyncio.gather(*tasks)
    return seen


def held_at_last(server: Server) -> dict[str, float]:
    """What the server holds once it had time to forget."""
    end = time.monotonic() + EMPTY_S
    while any((held := server.held()).values()) and time.monotonic() < end:
        time.sleep(0.1)
    return held


def engine_alone(model: str, requests: int) -> float:
    """CPU seconds a token of the engine, whose tokens nobody reads as text."""
    from gemcut.api import Gemma
    from gemcut.engine.sampling_params import SamplingParams

    gemma = Gemma.load(model, device="cpu")

    def run(count: int, base: int) -> int:
        starts = []
        for number in range(base, base + count):
            choosing = gemma._generator.chat_choosing(SamplingParams(**sampling(number)), None, False)
            starts.append(gemma._generator.prepare(gemma.prompt(question(number)), choosing))
        streams = [stream for start in starts for stream in start()]
        return sum(1 for stream in streams for _ in stream)

    run(16, 0)
    start, tokens = time.process_time(), run(requests, 1000)
    return (time.process_time() - start) / tokens


def percentiles(values: list[float]) -> str:
    """p50 and p99 in milliseconds."""
    cuts = statistics.quantiles(values, n=100)
    return f"p50 {1000 * cuts[49]:.1f} ms, p99 {1000 * cuts[98]:.1f} ms"


def report(seen: Seen, args: argparse.Namespace, each_s: float, alone_s: float) -> list[str]:
    """Prints what was measured; what of it is not as it should be."""
    for (kind, how), count in sorted(seen.ended.items()):
        print(f"{kind + ': ' + how:28} {count}")
    print(f"time to the first token      {percentiles(seen.first_s)}")
    print(f"between tokens               {percentiles(seen.gaps_s)}")
    print(f"tokens                       {seen.tokens} ({seen.tokens / args.seconds:.0f}/s)")
    warm = seen.memory[int(len(seen.memory) * WARM_SHARE) :]
    growth, own_ms = max(warm) / warm[0] - 1, 1000 * (each_s - alone_s)
    print(f"memory after warm-up         {warm[0] / 1e6:.0f} MB, at most {100 * growth:.1f} % more")
    print(f"CPU a token                  {1000 * each_s:.3f} ms; the engine alone {1000 * alone_s:.3f} ms")
    print(f"the server's own             {own_ms:.3f} ms")
    faults = [f"{kind}: {how}" for kind, how in seen.ended if how not in RIGHT_ENDS[kind]]
    faults += [f"memory grew by {100 * growth:.1f} %"] if growth > MOST_GROWTH else []
    return faults + ([f"{own_ms:.3f} ms a token of its own"] if own_ms > MOST_OWN_MS else [])


def main() -> int:
    """Measures; 1 where something is not as it should be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="nano")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--engine", action="store_true", help="only the engine's CPU seconds a token")
    args = parser.parse_args()
    if args.engine:
        print(engine_alone(args.model, 100))
        return 0
    with serving(args) as server:
        before_s = server.cpu_s
        seen = asyncio.run(load(args, server))
        each_s = (server.cpu_s - before_s) / max(1, seen.tokens)
        held = {name: value for name, value in held_at_last(server).items() if value}
    alone = [sys.executable, "-m", "bench.serve", "--model", args.model, "--engine"]
    done = subprocess.run(alone, stdout=subprocess.PIPE, text=True, check=True, env=environment(args))
    faults = report(seen, args, each_s, float(done.stdout)) + [f"still held: {name}" for name in held]
    print("as it should be" if not faults else f"not as it should be: {'; '.join(faults)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
