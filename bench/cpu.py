"""Prefill and decode on this CPU against transformers' `generate()`, the two interleaved in one run.

    python -m bench.cpu FOLDER [--prompt 512] [--tokens 16] [--rounds 3] [--threads 2]

FOLDER holds a checkpoint, e.g. E2B's real shapes with random weights.  Each side runs in a process of its
own, so its peak memory is its own; they take turns, so that a machine whose speed drifts is fair to both.
In every round the memory's bandwidth (a copy) and the rate of float32 matrix products are measured too.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from bench.side import Side, answer_orders

Generate = Callable[[list[int], int], float]  # prompt ids, tokens to make -> seconds
CONTEXT = 128  # tokens before the decoded ones


def ours(folder: Path) -> tuple[Generate, dict[str, float]]:
    """Gemcut's naive loop, and what a step must read and compute."""
    from gemcut.api import Gemma
    from gemcut.engine.sampling_params import SamplingParams

    gemma = Gemma.load(str(folder), device="cpu")
    text = gemma.model.model.language_model
    tables = {"embed_tokens_per_layer.weight"}
    read = sum(p.numel() * p.element_size() for n, p in text.named_parameters() if n not in tables)
    own = [layer for layer in text.layers if layer.spec.owns_kv and text.config.num_kv_shared_layers]
    prefilled = sum(p.numel() for layer in own or text.layers for p in layer.parameters())

    def run(ids: list[int], count: int) -> float:
        start = time.perf_counter()
        made = gemma.complete(ids, sampling=SamplingParams(temperature=0, max_tokens=count))
        assert len(made.token_ids) == count, "a random model met a stop token; use another prompt"
        return time.perf_counter() - start

    return run, {"bytes_per_token": read, "flop_per_prompt_token": 2 * prefilled}


def theirs(folder: Path) -> tuple[Generate, dict[str, float]]:
    """Transformers' generate() with its SDPA attention."""
    from transformers import Gemma4ForConditionalGeneration

    model = Gemma4ForConditionalGeneration.from_pretrained(
        folder, dtype=torch.bfloat16, attn_implementation="sdpa"
    ).eval()
    model.generation_config.eos_token_id = None

    def run(ids: list[int], count: int) -> float:
        prompt = torch.tensor([ids])
        start = time.perf_counter()
        with torch.inference_mode():
            model.generate(
                prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=count, do_sample=False,
                top_k=None, top_p=None, temperature=None,
            )  # fmt: skip
        return time.perf_counter() - start

    return run, {}


def work(side: str, folder: Path) -> None:
    """A side: answers orders {"prompt": [...], "count": n} with seconds and the most memory so far."""
    start = time.perf_counter()
    run, facts = {"gemcut": ours, "transformers": theirs}[side](folder)

    def answer(order: dict[str, Any]) -> dict[str, float]:
        seconds = run(order["prompt"], order["count"])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {"seconds": seconds, "peak_bytes": peak}

    answer_orders({"load_s": time.perf_counter() - start, **facts}, answer)


class Measured:
    """One side and what was measured of it."""

    def __init__(self, side: str, folder: Path, threads: int) -> None:
        self._side = Side("bench.cpu", [str(folder), "--side", side, "--threads", str(threads)])
        self.facts: dict[str, float] = self._side.facts
        self.prefill_s: list[float] = []
        self.decode_s: list[float] = []
        self.peak_bytes = 0.0
        self._asked = 0  # both sides get the same prompts

    def seconds(self, tokens: int, count: int) -> float:
        """How long `count` tokens take after a prompt of so many that it has not seen before."""
        self._asked += 1
        generator = torch.Generator().manual_seed(self._asked)
        prompt = torch.randint(1000, 200_000, (tokens,), generator=generator).tolist()
        answer = self._side.ask({"prompt": prompt, "count": count})
        self.peak_bytes = answer["peak_bytes"]
        return float(answer["seconds"])

    def round(self, prompt: int, tokens: int) -> None:
        """One measurement of each kind: decoding is what more tokens take than one token."""
        self.prefill_s.append(self.seconds(prompt, 1))
        one = self.seconds(CONTEXT, 1)
        self.decode_s.append((self.seconds(CONTEXT, 1 + tokens) - one) / tokens)


def bandwidth() -> float:
    """Bytes a second that a copy reads and writes."""
    source = torch.empty(2**29, dtype=torch.uint8)
    target = torch.empty_like(source)
    target.copy_(source)
    start = time.perf_counter()
    for _ in range(3):
        target.copy_(source)
    return 2 * 3 * source.numel() / (time.perf_counter() - start)


def matrix_rate() -> float:
    """Floating-point operations a second in a float32 product."""
    a = torch.randn(2048, 2048)
    a @ a
    start = time.perf_counter()
    for _ in range(3):
        a @ a
    return 3 * 2 * 2048**3 / (time.perf_counter() - start)


def report(
    sides: dict[str, Measured], prompt: int, memory: list[float], matrix: list[float]
) -> Iterator[str]:
    """The lines of the result."""
    ours_, theirs_ = sides["gemcut"], sides["transformers"]
    floor, rate = statistics.median(memory), statistics.median(matrix)
    yield f"memory copy {floor / 1e9:.1f} GB/s, float32 products {rate / 1e9:.0f} GFLOP/s"
    for name, side in sides.items():
        decode, prefill = (statistics.median(times) for times in (side.decode_s, side.prefill_s))
        yield (
            f"{name:13} load {side.facts['load_s']:6.1f} s  prefill {prompt / prefill:7.1f} tok/s"
            f"  decode {1 / decode:6.2f} tok/s  peak {side.peak_bytes / 1e9:5.2f} GB"
        )
    pairs = {
        "decode": [b / a for a, b in zip(ours_.decode_s, theirs_.decode_s, strict=True)],
        "prefill": [b / a for a, b in zip(ours_.prefill_s, theirs_.prefill_s, strict=True)],
    }
    for what, ratios in pairs.items():
        spread = f"rounds: {min(ratios):.2f} to {max(ratios):.2f}"
        yield f"{what}: {statistics.median(ratios):.2f}x transformers ({spread})"
    used = ours_.facts["bytes_per_token"] / statistics.median(ours_.decode_s)
    done = ours_.facts["flop_per_prompt_token"] * prompt / statistics.median(ours_.prefill_s)
    yield f"gemcut's decode reads {used / 1e9:.1f} GB/s, {100 * used / floor:.0f} % of the copy"
    yield f"gemcut's prefill does {done / 1e9:.0f} GFLOP/s, {100 * done / rate:.0f} % of the product"


def main() -> None:
    """Parse, run the rounds, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--side", choices=("gemcut", "transformers"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.side:
        work(args.side, args.folder)
        return
    sides = {name: Measured(name, args.folder, args.threads) for name in ("gemcut", "transformers")}
    for side in sides.values():
        side.seconds(CONTEXT, 2)  # warm
    memory, matrix = [], []
    for _ in range(args.rounds):
        for side in sides.values():
            side.round(args.prompt, args.tokens)
        memory.append(bandwidth())
        matrix.append(matrix_rate())
    print(*report(sides, args.prompt, memory, matrix), sep="\n")


if __name__ == "__main__":
    main()
