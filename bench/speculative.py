"""Decoding with a drafter against decoding without, the two by turns in one process.

    python -m bench.speculative FOLDER DRAFTER [--acceptance 0.7] [--tokens 64] [--rounds 3] [--threads 2]
    python -m bench.speculative nano nano --ask "What is Gemma 4?" "What is 274 + 389?"

FOLDER and DRAFTER hold a model and its assistant, e.g. E2B's real shapes with random weights.  With
--acceptance each guess is made right with that probability, whatever the drafter said (it works all the
same, so its time counts): what a drafter of that quality would gain.  Without it the guesses are its own,
which means something of a trained drafter: with --ask it guesses replies to questions, thought over first.
How many guesses are made is the engine's choice, from what it measures.
"""

import argparse
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gemcut.api import Gemma
from gemcut.engine.drafting import PagedDrafter, Speculator
from gemcut.engine.options import EngineOptions
from gemcut.engine.progress import Key, Progress, Rows
from gemcut.engine.sampling_params import SamplingParams
from gemcut.prompt.assemble import Prompt

PROMPT = 128  # tokens


@dataclass
class Counts:
    """What became of guesses."""

    steps: int = 0
    guesses: int = 0
    kept: int = 0
    checked: int = 0  # up to the first wrong one of each draft

    def clear(self) -> None:
        """Begins anew."""
        self.steps = self.guesses = self.kept = self.checked = 0


@dataclass
class Forced:
    """Makes guesses right with a certain probability.  truth: the tokens of the reply."""

    acceptance: float
    truth: list[int] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(0))

    def drafts(self, progress: Progress, count: int) -> list[int]:
        """Guesses of what follows."""
        true = self.truth[progress.num_made : progress.num_made + count]
        return [token if self.chance.random() < self.acceptance else token ^ 1 for token in true]


def count_guesses(counts: Counts) -> None:
    """Lets every speculator tell what became of its guesses."""
    learn = Speculator.learn

    def counting(
        self: Speculator,
        planned: Sequence[Rows],
        hidden: Sequence[Tensor],
        made: Mapping[Key, Sequence[int]],
        s: float,
    ) -> None:
        learn(self, planned, hidden, made, s)
        counts.steps += 1
        for rows in planned:
            if rows.num_drafts and rows.progress.key in made:
                kept = len(made[rows.progress.key]) - 1
                counts.guesses += rows.num_drafts
                counts.kept += kept
                counts.checked += min(kept + 1, rows.num_drafts)

    Speculator.learn = counting  # type: ignore[method-assign]


def force(forced: Forced) -> None:
    """Puts these guesses in the place of every drafter's own."""
    draft = PagedDrafter.draft

    def right_by_chance(
        self: PagedDrafter, sequences: Sequence[Progress], hidden: Tensor, count: int
    ) -> list[list[int]]:
        draft(self, sequences, hidden, count)
        return [forced.drafts(progress, count) for progress in sequences]

    PagedDrafter.draft = right_by_chance  # type: ignore[method-assign]


def seconds_of(gemma: Gemma, prompts: Sequence[Prompt], params: SamplingParams) -> tuple[float, list[int]]:
    """Seconds from each prompt's first token to its last, and the tokens, of one after another."""
    seconds, ids = 0.0, []
    choosing = gemma._generator.choosing(params)
    for prompt in prompts:
        stamps = []
        (stream,) = gemma._generator.prepare(prompt, choosing)()
        for token in stream:
            stamps.append(time.perf_counter())
            ids.append(token.id)
        seconds += stamps[-1] - stamps[0]
    return seconds, ids


def main() -> None:
    """Parse, run the rounds, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("drafter")
    parser.add_argument("--acceptance", type=float)
    parser.add_argument("--ask", nargs="+", default=[])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, default=EngineOptions().max_drafts)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    if args.ask and args.acceptance is not None:
        parser.error("--acceptance makes guesses right for one reply; leave --ask out")
    torch.set_num_threads(args.threads)
    counts = Counts()
    count_guesses(counts)
    forced = Forced(1.0 if args.acceptance is None else args.acceptance)
    if args.acceptance is not None:
        force(forced)
    memory = {"cache_bytes": 2**29, "max_running": 4}
    without = Gemma.load(args.folder, engine=EngineOptions(speculate="off", **memory))
    options = EngineOptions(speculate="drafter", max_drafts=args.most, **memory)
    with_it = Gemma.load(args.folder, drafter=args.drafter, engine=options)
    ids = torch.randint(300, 1900, (PROMPT,), generator=torch.Generator().manual_seed(0)).tolist()
    prompts = [without.prompt(question, think=True) for question in args.ask] or [Prompt(tuple(ids))]
    least = 0 if args.ask else args.tokens
    params = SamplingParams(temperature=0, max_tokens=args.tokens, min_tokens=least)
    _, forced.truth = seconds_of(without, prompts, params)
    seconds_of(with_it, prompts, params)  # in which the engine measures what steps cost
    counts.clear()
    pairs = []
    for _ in range(args.rounds):
        plain, true = seconds_of(without, prompts, params)
        plain_steps, counts.steps = counts.steps, 0
        guessed, got = seconds_of(with_it, prompts, params)
        pairs.append((plain, guessed))
        timed = len(true) - len(prompts)
        print(
            f"without {timed / plain:6.2f} tok/s   with {timed / guessed:6.2f} tok/s "
            f"in {counts.steps} steps instead of {plain_steps}   the same tokens: {got == true}",
            flush=True,
        )
        counts.steps = 0
    gains = [plain / guessed for plain, guessed in pairs]
    print(f"gain {statistics.median(gains):.2f}x ({min(gains):.2f} to {max(gains):.2f})")
    print(
        f"{counts.guesses} guesses, {counts.kept} kept; "
        f"of those checked {counts.kept / max(1, counts.checked):.1%} were right"
    )


if __name__ == "__main__":
    main()
