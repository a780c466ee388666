"""The engine on a CPU: requests at once, one after another, in the naive loop; beginnings shared; invariance.

    python -m bench.engine FOLDER [--requests 16] [--prompt 64] [--tokens 16] [--rounds 2]

FOLDER holds a checkpoint, e.g. E2B's real shapes with random weights.  Every prompt is new, unless its
beginning is what is measured.  `gemcut bench FOLDER --batch 16 --vs transformers` compares with others.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import torch

from gemcut.api import Gemma
from gemcut.engine.naive import generate
from gemcut.engine.options import EngineOptions
from gemcut.engine.sampling_params import Sampling, SamplingParams
from gemcut.engine.stop_conditions import StopConditions

BEGINNING = 2000  # tokens that two requests share
QUESTION = 16  # tokens of each request's own behind them
Measure = Callable[[argparse.Namespace], float]  # -> seconds


def prompts(args: argparse.Namespace, seed: int) -> list[list[int]]:
    """So many prompts like no others."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1000, 200_000, (args.requests, args.prompt), generator=generator).tolist()  # type: ignore[no-any-return]


def measures_of(folder: Path) -> dict[str, Measure]:
    """What is measured."""
    gemma, invariant = (
        Gemma.load(
            str(folder),
            device="cpu",
            engine=EngineOptions(batch_invariant=wanted, speculate="off", cache_bytes=2**30),
        )
        for wanted in (False, True)
    )
    seeds = count()

    def complete(ids: list[int], tokens: int, gemma: Gemma = gemma) -> float:
        start = time.perf_counter()
        made = gemma.complete(ids, sampling=SamplingParams(temperature=0, max_tokens=tokens))
        assert len(made.token_ids) == tokens, "a random model met a stop token; use another seed"
        return time.perf_counter() - start

    def one_after_another(args: argparse.Namespace) -> float:
        return sum(complete(ids, args.tokens) for ids in prompts(args, next(seeds)))

    def at_once(args: argparse.Namespace, gemma: Gemma = gemma) -> float:
        start = time.perf_counter()
        with ThreadPoolExecutor(args.requests) as pool:
            list(pool.map(lambda ids: complete(ids, args.tokens, gemma), prompts(args, next(seeds))))
        return time.perf_counter() - start

    def naive(args: argparse.Namespace) -> float:
        total = 0.0
        for ids in prompts(args, next(seeds)):
            stops = StopConditions(max_tokens=args.tokens)
            start = time.perf_counter()
            list(generate(gemma.model, ids, torch.empty(0, 1), Sampling(temperature=0), stops))
            total += time.perf_counter() - start
        return total

    beginnings: dict[int, list[int]] = {}

    def beginning(args: argparse.Namespace, number: int) -> list[int]:
        if number not in beginnings:
            generator = torch.Generator().manual_seed(1000 + number)
            beginnings[number] = torch.randint(1000, 200_000, (BEGINNING,), generator=generator).tolist()
        own = torch.randint(1000, 200_000, (QUESTION,), generator=torch.Generator().manual_seed(next(seeds)))
        return beginnings[number] + [int(token) for token in own]

    numbers = count()

    def first_of_two(args: argparse.Namespace) -> float:
        return complete(beginning(args, next(numbers)), 1)

    def second_of_two(args: argparse.Namespace) -> float:
        return complete(beginning(args, len(beginnings) - 1), 1)

    return {
        "one after another": one_after_another,
        "naive loop": naive,
        "at once": at_once,
        "at once, invariant": lambda args: at_once(args, invariant),
        "first of two": first_of_two,
        "second of two": second_of_two,
    }


def report(args: argparse.Namespace, found: dict[str, list[float]]) -> list[str]:
    """The lines of the result: rates of the median round, and ratios with their spread."""
    lines = []
    for what in ("naive loop", "one after another", "at once", "at once, invariant"):
        rate = args.requests * args.tokens / statistics.median(found[what])
        lines.append(f"{what:22} {rate:6.2f} tok/s")
    ratios = {
        "at once / one after another": ("one after another", "at once"),
        "one after another / naive loop": ("naive loop", "one after another"),
        "at once, invariant / at once": ("at once", "at once, invariant"),
    }
    for name, (slow, fast) in ratios.items():
        each = [a / b for a, b in zip(found[slow], found[fast], strict=True)]
        lines.append(f"{name}: {statistics.median(each):.2f}x (rounds: {min(each):.2f} to {max(each):.2f})")
    first, second = statistics.median(found["first of two"]), statistics.median(found["second of two"])
    lines.append(
        f"first token after {BEGINNING + QUESTION} tokens: {first:.2f} s; with the {BEGINNING} read before: "
        f"{second:.2f} s, {100 * second / first:.1f} %"
    )
    return lines


def main() -> None:
    """Parse, run the rounds, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--requests", type=int, default=16)
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    measures = measures_of(args.folder)
    for what in ("at once", "at once, invariant"):  # warms
        measures[what](args)
    found: dict[str, list[float]] = {}
    for _ in range(args.rounds):
        for what in measures:
            found.setdefault(what, []).append(measures[what](args))
    print(*report(args, found), sep="\n")


if __name__ == "__main__":
    main()
