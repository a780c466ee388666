"""What `gemcut fit` predicts for this CPU against what is measured here, in one run.

    python -m bench.fit FOLDER [--tokens 16] [--rounds 3] [--threads 2]

FOLDER holds a checkpoint of a known size, plain or quantised; random weights will do.  It is read once
before, so that it lies in the file cache, and runs in a process of its own, so its peak memory is its own.
In each round the machine is measured as `gemcut fit` does it, and then the model: a prompt that it has not
seen, whose first token ends the prefill, and the tokens after it.  So a machine whose speed drifts is fair to
both.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch

from bench.side import Side, answer_orders
from gemcut.engine.generator import Generator
from gemcut.engine.main_memory import main_memory
from gemcut.engine.options import EngineOptions
from gemcut.engine.sampling_params import SamplingParams
from gemcut.family import FAMILIES, Family
from gemcut.fit.estimate import PROMPT_TOKENS, Estimate, Place, estimate
from gemcut.fit.measure import measure
from gemcut.fit.weights import PRECISIONS, Precision, tensor_bytes
from gemcut.load import load
from gemcut.model.text_tensors import text_tensors
from gemcut.opened import open_checkpoint
from gemcut.prompt.assemble import Prompt


def what_it_is(folder: Path) -> tuple[Family, Precision]:
    """The size and the precision of a checkpoint.  Ends the program for one that `gemcut fit` has not."""
    opened = open_checkpoint(folder)
    row = next((row for row in FAMILIES if row.size.text == opened.config.text), None)
    if row is None:
        raise SystemExit(f"{folder} is none of {', '.join(row.name for row in FAMILIES)}")
    shapes = text_tensors(row.size.text)
    forms = {name: opened.blocks.get(name, "bf16") for name in shapes}
    for precision in PRECISIONS:
        if forms == {name: tensor_bytes(name, shape, precision)[0] for name, shape in shapes.items()}:
            return row, precision
    raise SystemExit(f"{folder} is not all in one of {', '.join(PRECISIONS)}; give one that is")


@dataclass(frozen=True)
class Seen:
    """What was measured in a round: seconds of the prompt and of a token after it, the most memory so far."""

    prefill_s: float
    decode_s: float
    peak_bytes: int


def work(folder: Path) -> None:
    """The model's process: answers orders {"prompt": [...], "tokens": n}."""
    loaded = load(str(folder), device="cpu", dtype=None, offline=True)
    generator = Generator(loaded, EngineOptions(speculate="off"))
    answer_orders({}, lambda order: asdict(timed(generator, order["prompt"], order["tokens"])))


def timed(generator: Generator, prompt: Sequence[int], tokens: int) -> Seen:
    """How long a prompt and the tokens after it take."""
    params = SamplingParams(temperature=0, max_tokens=tokens, min_tokens=tokens)
    start = time.perf_counter()
    (stream,) = generator.prepare(Prompt(tuple(prompt)), generator.choosing(params))()
    ends = [time.perf_counter() for _ in stream]
    return Seen(
        prefill_s=ends[0] - start,
        decode_s=statistics.median(after - before for before, after in pairwise(ends)),
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def ask(side: Side, seed: int, tokens: int) -> Seen:
    """Has the model's process answer a prompt like no other."""
    generator = torch.Generator().manual_seed(seed)
    prompt = torch.randint(1000, 200_000, (PROMPT_TOKENS,), generator=generator).tolist()
    return Seen(**side.ask({"prompt": prompt, "tokens": tokens}))


def lines(predicted: Sequence[Estimate], seen: Sequence[Seen]) -> Iterator[str]:
    """The result: what was predicted, what was measured, and their ratio."""
    decode, prefill = (
        statistics.median(times) for times in ([s.decode_s for s in seen], [s.prefill_s for s in seen])
    )
    pairs = {
        "decode, tok/s": (_median(one.decode_per_s for one in predicted), 1 / decode),
        "prefill, tok/s": (_median(one.prefill_per_s for one in predicted), PROMPT_TOKENS / prefill),
        "memory, GB": (predicted[-1].memory_bytes / 1e9, seen[-1].peak_bytes / 1e9),
    }
    yield f"{'':16}{'predicted':>10}{'measured':>10}{'ratio':>8}"
    for name, (said, measured) in pairs.items():
        yield f"{name:16}{said:10.2f}{measured:10.2f}{said / measured:8.2f}"


def _into_cache(folder: Path) -> None:
    """Reads all files once."""
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            while file.read(2**24):
                pass


def _median(numbers: Iterator[float | None]) -> float:
    return statistics.median(number for number in numbers if number is not None)


def main() -> None:
    """Parse, run the rounds, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--side", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.side:
        work(args.folder)
        return
    row, precision = what_it_is(args.folder)
    _into_cache(args.folder)
    side = Side("bench.fit", [str(args.folder), "--side", "--threads", str(args.threads)])
    ask(side, 0, 2)  # warm
    predicted, seen = [], []
    for seed in range(1, args.rounds + 1):
        rates = measure(torch.device("cpu"))
        place = Place(kind="cpu", memory=main_memory(), rates=rates)
        predicted.append(estimate(row, precision, place, PROMPT_TOKENS))
        seen.append(ask(side, seed, args.tokens))
        print(
            f"{row.name} {precision}: {rates.read[precision] / 1e9:.1f} GB/s, "
            f"{rates.multiply[precision] / 1e9:.0f} GFLOP/s, {1e6 * rates.layer_s:.0f} µs a layer; then "
            f"{1 / seen[-1].decode_s:.2f} and {PROMPT_TOKENS / seen[-1].prefill_s:.1f} tok/s"
        )
    print(*lines(predicted, seen), sep="\n")


if __name__ == "__main__":
    main()
