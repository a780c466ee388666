"""How much memory a model takes from start to end, and how soon a fresh process answers.

    python -m bench.footprint FOLDER [--prompt 512] [--tokens 128] [--threads 2]

Each figure is of processes of their own, which do one thing: hold torch and the tokenizer; answer a prompt of
16 tokens with one token; answer the long prompt.  Peaks are the kernel's (VmHWM: anonymous and mapped pages),
times are from the process's start; the first process warms the file cache and is not counted.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from gemcut.speed.peak import peak_bytes

SHORT = 16  # tokens of a prompt
ROUNDS = 3


@dataclass(frozen=True)
class Life:
    """A process: seconds from its start to its line, and the most memory that it took."""

    seconds: float
    peak_bytes: int


def live(folder: Path, prompt: int, tokens: int, threads: int) -> Life:
    """A process that answers one prompt; with none it loads torch and the tokenizer only."""
    command = [sys.executable, "-m", "bench.footprint", str(folder), "--inside"]
    command += [f"--prompt={prompt}", f"--tokens={tokens}", f"--threads={threads}"]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    seconds = time.perf_counter() - start
    peak = process.communicate()[0]
    if process.returncode:
        raise SystemExit("a process died; its error is above")
    return Life(seconds, int(peak))


def inside(folder: Path, prompt: int, tokens: int, threads: int) -> None:
    """What such a process does."""
    import torch

    torch.set_num_threads(threads)
    if not prompt:
        from gemcut.prompt.tokenizer import Tokenizer

        held = Tokenizer.from_folder(folder)
        print(held.longest, peak_bytes(), sep="\n", flush=True)
        return
    from gemcut.api import Gemma
    from gemcut.engine.sampling_params import SamplingParams

    gemma = Gemma.load(str(folder), device="cpu")
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(
        gemma.config.text.vocab_size // 4, gemma.config.text.vocab_size // 2, (prompt,), generator=generator
    )
    sampling = SamplingParams(temperature=0, max_tokens=tokens, min_tokens=tokens)
    print(len(gemma.complete(ids.tolist(), sampling=sampling).token_ids), flush=True)
    gemma.close()
    print(peak_bytes())


def lines(base: Life, short: list[Life], long: Life, tokens: int) -> list[str]:
    """What is printed: seconds, and decimal gigabytes."""
    least, *_, most = times = sorted(life.seconds for life in short)
    above = long.peak_bytes - base.peak_bytes
    return [
        f"torch and the tokenizer     {base.peak_bytes / 1e9:.2f} GB",
        f"the whole, {tokens} new tokens  {long.peak_bytes / 1e9:.2f} GB, {above / 1e9:.2f} GB above",
        f"first token, a fresh process  {times[len(times) // 2]:.2f} s ({least:.2f} to {most:.2f})",
    ]


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        inside(args.folder, args.prompt, args.tokens, args.threads)
        return
    live(args.folder, SHORT, 1, args.threads)
    short = [live(args.folder, SHORT, 1, args.threads) for _ in range(ROUNDS)]
    base = live(args.folder, 0, 0, args.threads)
    long = live(args.folder, args.prompt, args.tokens, args.threads)
    print("\n".join(lines(base, short, long, args.tokens)))


if __name__ == "__main__":
    main()
