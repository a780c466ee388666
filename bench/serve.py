"""The server under load, on this machine: many streaming clients; some leave, err, or send too much.

    python -m bench.serve [--model nano] [--clients 200] [--seconds 120] [--threads 1]

Warm-up: the same load, until its requests had twice the tokens that the memory for keys and values holds,
since a page counts as the server's memory only once it was written.  Then the load counts, for so many
seconds.  Told: requests by how they ended, time to the first token and between tokens as clients see it, the
server's memory, its pages in use at the end.

Then CPU time: all clients ask good requests only, and the engine alone is given the same ones, as many at
once, in a process before and one after.  What clients do meanwhile on the other core slows the server, not
the engine alone, so the difference is too large rather than too small; beside it stands what the thread of
the event loop took, which is nearly all that the server does itself.

Ends with 1 where something is not as it should be: a good request that was not answered whole, a bad one
that was not refused, pages still in use, memory that grows by more than 5 %, or more than 0.3 ms a token.
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
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

SHARES = {"good": 0.85, "leaves": 0.08, "bad": 0.05, "large": 0.02}  # of the requests
RIGHT_ENDS = {"good": {"whole"}, "leaves": {"left", "whole"}, "bad": {"400", "404"}, "large": {"413"}}
TOKENS = 48
MOST_GROWTH, MOST_OWN_MS = 0.05, 0.3
MOST_BODY_MB, LARGE_BYTES = 1, 2_000_000
CACHE_BYTES, PAGE_TOKENS = 20 * 2**20, 16  # for keys and values: little is soon warm
FILLS = 2  # how often the requests of the warm-up fill that memory
MOST_WARM_S = 300.0
LONGEST_WAIT_S = 2.0  # of a client that leaves without a word
LONGEST_REQUEST_S = 300.0
EMPTY_S = 10.0  # in which the server has to have forgotten everybody
COMPARED, FIRST_COMPARED = 400, 10**6  # requests for CPU time, and their first number: the load has others
HELD = (
    "gemcut_pages_used",
    "gemcut_sequences",
    "gemcut_requests_in_flight",
    "gemcut_requests_waiting",
)  # of the metrics: what the server holds for requests
TICKS = os.sysconf("SC_CLK_TCK")
SYSTEM_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Seen:
    """What clients saw.

    ended: of all requests.  The rest is since the server was warm.
    made, read: tokens of whole replies and of their prompts.  made_per_s: while new requests came.
    memory: the server's, each second.
    """

    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    first_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    made: int = 0
    read: int = 0
    made_per_s: float = 0.0
    memory: list[int] = field(default_factory=list)

    def begin(self) -> None:
        """What was seen until now was the warm-up."""
        self.first_s, self.gaps_s, self.made, self.read = [], [], 0, 0


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
            return int(file.read().split()[1]) * SYSTEM_PAGE_BYTES

    @property
    def cpu_s(self) -> float:
        """CPU time until now, of all threads."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            parts = file.read().rsplit(")", 1)[1].split()
        return (int(parts[11]) + int(parts[12])) / TICKS

    @property
    def loop_cpu_s(self) -> float:
        """CPU time until now of its first thread, the event loop's: no other of its own sees tokens."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/schedstat") as file:
            return int(file.read().split()[0]) / 1e9

    def metrics(self, *names: str) -> dict[str, float]:
        """What it tells of these, each of which it has to tell something of."""
        with urllib.request.urlopen(f"{self.url}/metrics") as answer:
            lines = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines()]
        told = {name: float(value) for name, value in lines if name.partition("{")[0] in names}
        assert {name.partition("{")[0] for name in told} == set(names), told
        return told

    def cache_tokens(self) -> int:
        """How many tokens its memory for keys and values holds."""
        return PAGE_TOKENS * round(max(self.metrics("gemcut_pages").values()))

    def held_at_last(self) -> list[str]:
        """What it still holds for requests after it had time to forget them."""
        end = time.monotonic() + EMPTY_S
        while any((held := self.metrics(*HELD)).values()) and time.monotonic() < end:
            time.sleep(0.1)
        return [name for name, value in held.items() if value]


@contextmanager
def serving(args: argparse.Namespace) -> Iterator[Server]:
    """A server, until the block ends; its log is thrown away."""
    command = [sys.executable, "-m", "gemcut", "serve", args.model, "--port", "0"]
    command += ["--cache-bytes", str(CACHE_BYTES), "--page-tokens", str(PAGE_TOKENS)]
    command += ["--max-body-mb", str(MOST_BODY_MB)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment(args)) as process:
        assert process.stderr is not None
        url = url_from(process.stderr)
        rest = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        try:
            yield Server(process, url)
        finally:
            process.terminate()
            process.wait()
            rest.wait()


def url_from(log: Iterable[str]) -> str:
    """Where a server listens, once its log says so."""
    before = []
    for line in log:
        if '"listening"' in line:
            return str(json.loads(line)["url"])
        before.append(line)
    raise SystemExit(f"the server did not start:\n{''.join(before)}")


def environment(args: argparse.Namespace) -> dict[str, str]:
    """OpenMP's threads spin while they wait, which would count as work."""
    return os.environ | {"OMP_NUM_THREADS": str(args.threads)}


def question(number: int) -> list[dict[str, str]]:
    """What is asked, differing from request to request."""
    return [{"role": "user", "content": f"What is {number} + {number // 3}? Tell me a long story too."}]


def sampling(number: int) -> dict[str, Any]:
    """How it is answered: always so many tokens."""
    return {"temperature": 1.0, "seed": number, "max_tokens": TOKENS, "min_tokens": TOKENS - 1}


def good(number: int) -> dict[str, Any]:
    """The fields of a good request."""
    usage = {"stream_options": {"include_usage": True}}
    return {"messages": question(number), "stream": True, **sampling(number), **usage}


def body_of(kind: str, draws: random.Random) -> bytes:
    """A request's body."""
    fields = good(draws.randrange(FIRST_COMPARED))
    if kind == "large":
        fields["messages"][0]["content"] = "a" * LARGE_BYTES
    if kind == "bad":
        wrong = [{"temprature": 1}, {"max_tokens": "many"}, {"messages": []}, {"model": "none"}, {"top_p": 7}]
        fields |= draws.choice(wrong)
    data = json.dumps(fields).encode()
    return data[: draws.randrange(1, len(data))] if kind == "bad" and draws.random() < 0.2 else data


class Client:
    """One request after the other, each in a connection of its own."""

    def __init__(self, place: tuple[str, int], seed: int, seen: Seen) -> None:
        self._place = place
        self._draws = random.Random(seed)
        self._seen = seen

    async def load(self, over: asyncio.Event) -> None:
        """Asks all kinds until it is over."""
        while not over.is_set():
            kind = self._draws.choices(list(SHARES), list(SHARES.values()))[0]
            await self._ask(kind, body_of(kind, self._draws))

    async def compare(self, numbers: Iterator[int]) -> None:
        """Asks good requests, as long as others have left some."""
        for number in numbers:
            await self._ask("good", json.dumps(good(number)).encode())

    async def _ask(self, kind: str, body: bytes) -> None:
        try:
            async with asyncio.timeout(LONGEST_REQUEST_S):
                outcome = await self._exchange(kind, body)
        except (ConnectionError, TimeoutError) as error:
            outcome = f"broken ({type(error).__name__})"
        self._seen.ended[kind, outcome] += 1

    async def _exchange(self, kind: str, body: bytes) -> str:
        """One request; how it ended."""
        reader, writer = await asyncio.open_connection(*self._place)
        try:
            head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            start = time.perf_counter()
            writer.write(head.encode() + body)
            if kind == "leaves" and self._draws.random() < 0.5:  # before or after the first word
                await asyncio.sleep(self._draws.uniform(0, LONGEST_WAIT_S))
                return "left"
            words = (await reader.readline()).split()
            if len(words) < 2 or words[1] != b"200":
                return words[1].decode() if len(words) > 1 else "closed"
            most = self._draws.randrange(1, TOKENS // 2) if kind == "leaves" else None
            return await self._stream(reader, start, most)
        finally:
            writer.close()

    async def _stream(self, reader: asyncio.StreamReader, start: float, most: int | None) -> str:
        """Reads a stream, up to so many pieces of text; how it ended."""
        seen, last, pieces, made = self._seen, start, 0, 0
        async for line in reader:
            if line.startswith(b"data: [DONE]"):
                return "whole" if made >= TOKENS - 1 else f"{made} tokens"
            if b'"usage":{' in line:
                usage = json.loads(line[6:])["usage"]
                made = usage["completion_tokens"]
                seen.made, seen.read = seen.made + made, seen.read + usage["prompt_tokens"]
            if b'"content":"' not in line or b'"role"' in line:
                continue
            now = time.perf_counter()
            (seen.gaps_s if pieces else seen.first_s).append(now - last)
            last, pieces = now, pieces + 1
            if pieces == most:
                return "left"
        return "broken off"


async def load(args: argparse.Namespace, server: Server) -> Seen:
    """Runs all clients, until the server is warm and then for as long as it counts."""
    seen, over, start, warm = Seen(), asyncio.Event(), time.monotonic(), FILLS * server.cache_tokens()
    clients = [Client(server.place, seed, seen) for seed in range(args.clients)]
    tasks = [asyncio.create_task(client.load(over)) for client in clients]
    while seen.made + seen.read < warm:
        if time.monotonic() - start > MOST_WARM_S:
            told = f"{seen.made + seen.read} tokens in {MOST_WARM_S:.0f} s"
            raise SystemExit(f"not warm, which takes {warm} tokens: {told}")
        await asyncio.sleep(0.2)
    print(f"{'warm after':28} {time.monotonic() - start:.0f} s, {warm} tokens")
    seen.begin()
    for _ in range(round(args.seconds)):
        seen.memory.append(server.memory_bytes)
        await asyncio.sleep(1)
    seen.made_per_s = seen.made / args.seconds
    over.set()
    await asyncio.gather(*tasks)
    seen.memory.append(server.memory_bytes)
    return seen


async def compare(args: argparse.Namespace, server: Server) -> Seen:
    """All clients ask the good requests that the engine alone is given, and nothing else."""
    seen, numbers = Seen(), iter(range(FIRST_COMPARED, FIRST_COMPARED + COMPARED))
    clients = [Client(server.place, seed, seen) for seed in range(args.clients)]
    await asyncio.gather(*(client.compare(numbers) for client in clients))
    return seen


def engine_alone(model: str) -> float:
    """CPU seconds a token of the engine, whose tokens nobody reads as text."""
    from gemcut.api import Gemma
    from gemcut.engine.options import EngineOptions
    from gemcut.engine.sampling_params import SamplingParams

    options = EngineOptions(cache_bytes=CACHE_BYTES, page_tokens=PAGE_TOKENS)
    gemma = Gemma.load(model, device="cpu", engine=options)
    most = 2 * gemma.limits.max_running  # at once, as the server has it

    def run(numbers: range) -> int:
        under_way: deque[Iterable[object]] = deque()
        tokens = 0
        for number in numbers:
            if len(under_way) == most:
                tokens += sum(1 for _ in under_way.popleft())
            choosing = gemma._generator.chat_choosing(SamplingParams(**sampling(number)), None, False)
            under_way += gemma._generator.prepare(gemma.prompt(question(number)), choosing)()
        return tokens + sum(1 for stream in under_way for _ in stream)

    run(range(COMPARED // 2))  # its memory is full then, as the server's is
    start = time.process_time()
    tokens = run(range(FIRST_COMPARED, FIRST_COMPARED + COMPARED))
    return (time.process_time() - start) / tokens


def engine_in_process(args: argparse.Namespace) -> float:
    """`engine_alone`, with the threads that the server has."""
    command = [sys.executable, "-m", "bench.serve", "--model", args.model, "--engine"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment(args))
    return float(done.stdout)


def percentiles(values: list[float]) -> str:
    """p50 and p99 in milliseconds."""
    cuts = statistics.quantiles(values, n=100)
    return f"p50 {1000 * cuts[49]:.1f} ms, p99 {1000 * cuts[98]:.1f} ms"


def report_load(seen: Seen) -> list[str]:
    """Prints what the load showed; what of it is not as it should be."""
    print(f"time to the first token      {percentiles(seen.first_s)}")
    print(f"between tokens               {percentiles(seen.gaps_s)}")
    print(f"tokens made                  {seen.made_per_s:.0f}/s")
    growth = max(seen.memory) / seen.memory[0] - 1
    print(f"memory once warm             {seen.memory[0] / 1e6:.0f} MB, at most {100 * growth:.1f} % more")
    return [f"memory grew by {100 * growth:.1f} %"] if growth > MOST_GROWTH else []


def report_ends(ended: Counter[tuple[str, str]]) -> list[str]:
    """Prints how requests ended; which of that is wrong."""
    for (kind, how), count in sorted(ended.items()):
        print(f"{kind + ': ' + how:28} {count}")
    return [f"{kind}: {how}" for kind, how in ended if how not in RIGHT_ENDS[kind]]


def report_cpu(each_s: float, alone_s: list[float]) -> list[str]:
    """Prints CPU time a token; what of it is too much."""
    own_ms = 1000 * (each_s - statistics.mean(alone_s))
    alone = " and ".join(f"{1000 * seconds:.3f}" for seconds in alone_s)
    print(f"CPU a token                  {1000 * each_s:.3f} ms; the engine alone {alone} ms")
    print(f"the server's own             {own_ms:.3f} ms")
    return [f"{own_ms:.3f} ms a token of its own"] if own_ms > MOST_OWN_MS else []


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
        print(engine_alone(args.model))
        return 0
    with serving(args) as server:
        seen = asyncio.run(load(args, server))
        held = server.held_at_last()
        alone_s = [engine_in_process(args)]
        before_s, loop_s = server.cpu_s, server.loop_cpu_s
        compared = asyncio.run(compare(args, server))
        each_s = (server.cpu_s - before_s) / max(1, compared.made)
        loop_ms = 1000 * (server.loop_cpu_s - loop_s) / max(1, compared.made)
    alone_s.append(engine_in_process(args))
    faults = report_ends(seen.ended + compared.ended) + report_load(seen)
    print(f"its event loop               {loop_ms:.3f} ms a token")
    faults += report_cpu(each_s, alone_s) + [f"still held: {name}" for name in held]
    print("as it should be" if not faults else f"not as it should be: {'; '.join(faults)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
