"""Microseconds of choosing a token for 1, 16 and 64 rows of 262,144 logits: `python -m bench.sampling`.

`--device`: cpu or cuda.  Rows of the table: greedy; temperature alone; Gemma's own default (top_k 64 and
top_p 0.95); top_p alone, whose nucleus must be looked for; Gemma's default with penalties over 2,000 tokens,
counting the new one.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from gemcut.engine.sampling import BatchSampler
from gemcut.engine.sampling_params import Sampling

VOCABULARY = 262_144
DEFAULT = Sampling(top_k=64, top_p=0.95)
CASES = {
    "greedy": Sampling(temperature=0),
    "temperature": Sampling(),
    "top_k 64, top_p 0.95": DEFAULT,
    "top_p 0.95": Sampling(top_p=0.95),
    "the same and penalties": replace(DEFAULT, repetition_penalty=1.1, frequency_penalty=0.1),
}


def microseconds(run: Callable[[int], Tensor], rounds: int) -> float:
    """Median time of a step that ends with its ids on the CPU."""
    times = []
    for number in range(rounds + 1):
        start = time.perf_counter()
        run(number).cpu()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:]) * 1e6


def measure(sampling: Sampling, rows: int, device: torch.device, rounds: int) -> float:
    """Microseconds a step of so many rows."""
    generator = torch.Generator().manual_seed(0)
    ranks = torch.rand(rows, VOCABULARY, generator=generator).argsort(-1)
    logits = (-1.5 * (ranks + 1).float().log()).to(device)  # as words are: 95 % lie on some 240 tokens
    sampler = BatchSampler(rows, VOCABULARY, device)
    prompt = torch.randint(VOCABULARY, (2000,), generator=generator).tolist()
    for slot in range(rows):
        sampler.put(slot, replace(sampling, seed=slot), prompt)
    slots = list(range(rows))

    def step(number: int) -> Tensor:
        ids = sampler.choose(logits, slots, [number] * rows)
        sampler.observe(slots, ids)
        return ids

    return microseconds(step, rounds)


@torch.inference_mode()
def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 16, 64])
    args = parser.parse_args()
    device = torch.device(args.device)
    print(f"{'microseconds a step':26}" + "".join(f"{rows:>8} rows" for rows in args.rows))
    for name, sampling in CASES.items():
        times = [measure(sampling, rows, device, args.rounds) for rows in args.rows]
        print(f"{name:26}" + "".join(f"{value:13,.0f}" for value in times), flush=True)


if __name__ == "__main__":
    main()
