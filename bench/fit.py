"""What `gemcut fit` predicts for this CPU against what is measured here, in one run.

    python -m bench.fit FOLDER [--tokens 16] [--rounds 3] [--threads 2]

FOLDER holds a checkpoint of a known size, plain or quantised; random weights will do.  It is read once
before, so that it lies in the file cache, and runs in a process of its own, so its peak memory is its own.
In each round the machine is measured as `gemcut fit` does it, and then the model: a prompt that it has not
seen, whose first token ends the prefill, and the tokens after it.  So a machine whose speed drifts is fair to
both.
"""

import argparse
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from gemcut.engine.main_memory import main_memory
from gemcut.family import FAMILIES, Family
from gemcut.fit.estimate import PROMPT_TOKENS, Estimate, Place, estimate
from gemcut.fit.measure import measure
from gemcut.fit.weights import PRECISIONS, Precision, tensor_form
from gemcut.model.text_tensors import text_tensors
from gemcut.opened import open_checkpoint
from gemcut.speed.order import Shape, Taken
from gemcut.speed.side import Side


def what_it_is(folder: Path) -> tuple[Family, Precision]:
    """The size and the precision of a checkpoint.  Ends the program for one that `gemcut fit` has not."""
    opened = open_checkpoint(folder)
    row = next((row for row in FAMILIES if row.size.text == opened.config.text), None)
    if row is None:
        raise SystemExit(f"{folder} is none of {', '.join(row.name for row in FAMILIES)}")
    shapes = text_tensors(row.size.text)
    forms = {name: opened.blocks.get(name, "bf16") for name in shapes}
    for precision in PRECISIONS:
        if forms == {name: tensor_form(name, shape, precision) for name, shape in shapes.items()}:
            return row, precision
    raise SystemExit(f"{folder} is not all in one of {', '.join(PRECISIONS)}; give one that is")


def lines(predicted: Sequence[Estimate], taken: Sequence[Taken], peak_bytes: int) -> Iterator[str]:
    """The result: what was predicted, what was measured, and their ratio."""
    decode = statistics.median(one.step_s for one in taken)
    prefill = statistics.median(one.prefill_s for one in taken)
    memory_gb = predicted[-1].memory_bytes / 1e9
    pairs = {
        "decode, tok/s": (_median(one.decode_per_s for one in predicted), 1 / decode),
        "prefill, tok/s": (_median(one.prefill_per_s for one in predicted), PROMPT_TOKENS / prefill),
        "memory, GB": (memory_gb, peak_bytes / 1e9),
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
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    row, precision = what_it_is(args.folder)
    shape = Shape(prompt_tokens=PROMPT_TOKENS, batch=1, new_tokens=args.tokens)
    given = {
        "place": str(args.folder.resolve()),
        "device": "cpu",
        "dtype": None,
        "threads": args.threads,
        "most_running": 1,
    }
    ids = range(1000, 2000)  # no control tokens
    predicted, taken = [], []
    _into_cache(args.folder)
    with Side("gemcut", given) as side:
        side.take(shape.order(ids, 0))  # warm
        for seed in range(1, args.rounds + 1):
            rates = measure(torch.device("cpu"))
            place = Place(kind="cpu", memory=main_memory(), rates=rates)
            predicted.append(estimate(row, precision, place, PROMPT_TOKENS))
            taken.append(side.take(shape.order(ids, seed)))
            print(
                f"{row.name} {precision}: {rates.read[precision] / 1e9:.1f} GB/s, "
                f"{rates.multiply[precision] / 1e9:.0f} GFLOP/s, {1e6 * rates.layer_s:.0f} µs a layer; then "
                f"{1 / taken[-1].step_s:.2f} and {PROMPT_TOKENS / taken[-1].prefill_s:.1f} tok/s"
            )
    assert side.about is not None
    print(*lines(predicted, taken, side.about.peak_bytes), sep="\n")


if __name__ == "__main__":
    main()
