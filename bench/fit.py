"""What `gemcut fit` predicts for this CPU against what is measured here, in one run.

    python -m bench.fit FOLDER [--tokens 8] [--rounds 2] [--threads 2]

FOLDER holds a checkpoint of a known size, plain or quantised; random weights will do.  It runs in a process
of its own, so its peak memory is its own.  In each round the machine is measured as `gemcut fit` does it,
and then the model, so that a machine whose speed drifts is fair to both.
"""

import argparse
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from bench.cpu import CONTEXT, Measured
from gemcut.engine.main_memory import main_memory
from gemcut.family import FAMILIES, Family
from gemcut.fit.estimate import PROMPT_TOKENS, Estimate, Place, estimate
from gemcut.fit.measure import measure
from gemcut.fit.weights import PRECISIONS, Precision, tensor_bytes
from gemcut.model.text_tensors import text_tensors
from gemcut.opened import open_checkpoint


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


def lines(predicted: Sequence[Estimate], side: Measured) -> Iterator[str]:
    """The result: what was predicted, what was measured, and their ratio."""
    decode, prefill = statistics.median(side.decode_s), statistics.median(side.prefill_s)
    memory_gb = predicted[-1].memory_bytes / 1e9
    pairs = {
        "decode, tok/s": (_median(one.decode_per_s for one in predicted), 1 / decode),
        "prefill, tok/s": (_median(one.prefill_per_s for one in predicted), PROMPT_TOKENS / prefill),
        "memory, GB": (memory_gb, side.peak_bytes / 1e9),
    }
    yield f"{'':16}{'predicted':>10}{'measured':>10}{'ratio':>8}"
    for name, (said, seen) in pairs.items():
        yield f"{name:16}{said:10.2f}{seen:10.2f}{said / seen:8.2f}"


def _median(numbers: Iterator[float | None]) -> float:
    return statistics.median(number for number in numbers if number is not None)


def main() -> None:
    """Parse, run the rounds, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    row, precision = what_it_is(args.folder)
    side = Measured("gemcut", args.folder, args.threads)
    side.seconds(CONTEXT, 2)  # warm
    predicted = []
    for _ in range(args.rounds):
        rates = measure(torch.device("cpu"))
        side.round(PROMPT_TOKENS, args.tokens)
        place = Place(kind="cpu", memory=main_memory(), rates=rates)
        predicted.append(estimate(row, precision, place, PROMPT_TOKENS))
        read, multiplied = rates.read[precision] / 1e9, rates.multiply[precision] / 1e9
        print(
            f"{row.name} {precision}: {read:.1f} GB/s, {multiplied:.0f} GFLOP/s, {1e6 * rates.layer_s:.0f} µs"
        )
    print(*lines(predicted, side), sep="\n")


if __name__ == "__main__":
    main()
