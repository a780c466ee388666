"""The data stage: examples → tokenizer and packed arrays, the same for the same seed."""

import json
import random
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from recipes.nano.example import Example
from recipes.nano.mix import PHASES, TASKS, TOKENIZER_SHARES, Phase
from recipes.nano.render import encode
from recipes.nano.tokenizer import build, save

MAX_TOKENS = 512
TOKENIZER_SAMPLE = 12_000
BATCH = 2_000


def draw_rng(seed: int, phase: str, number: int) -> random.Random:
    """The source of randomness of one batch of one phase."""
    return random.Random(zlib.crc32(f"{seed}/{phase}/{number}".encode()))


def mean_tokens(tokenizer: Tokenizer, seed: int) -> dict[str, float]:
    """The mean length of each task's examples, so that shares can be shares of tokens."""
    rng = draw_rng(seed, "lengths", 0)
    return {
        name: float(
            np.mean([len(ids) for ids, _ in encode(tokenizer, [draw(rng, "train") for _ in range(200)])])
        )
        for name, draw in TASKS.items()
    }


def sample_for_tokenizer(seed: int, count: int = TOKENIZER_SAMPLE) -> list[Example]:
    """Examples by the shares that the tokenizer is made for."""
    rng = draw_rng(seed, "tokenizer", 0)
    names = rng.choices(list(TOKENIZER_SHARES), list(TOKENIZER_SHARES.values()), k=count)
    return [TASKS[name](rng, "train") for name in names]


def phase_batches(
    phase: Phase, tokenizer: Tokenizer, lengths: dict[str, float], seed: int
) -> Iterator[list[tuple[str, np.ndarray, np.ndarray]]]:
    """Batches of (task, ids, mask) until the phase has its tokens; examples too long are left out."""
    tokens, number = 0, 0
    weights = [share / lengths[name] for name, share in phase.shares.items()]
    while tokens < phase.tokens:
        rng = draw_rng(seed, phase.name, number)
        number += 1
        examples = [TASKS[name](rng, "train") for name in rng.choices(list(phase.shares), weights, k=BATCH)]
        rows = zip(examples, encode(tokenizer, examples), strict=True)
        batch = [(e.task, ids, mask) for e, (ids, mask) in rows if len(ids) <= MAX_TOKENS]
        tokens += sum(len(ids) for _, ids, _ in batch)
        yield batch


def write_phase(
    phase: Phase, tokenizer: Tokenizer, lengths: dict[str, float], seed: int, folder: Path
) -> None:
    """Writes <folder>/<phase>.npz with ids, mask and offsets, and prints what is in it."""
    ids: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    tokens: Counter[str] = Counter()
    learnt: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for batch in phase_batches(phase, tokenizer, lengths, seed):
        for task, row, mask in batch:
            ids.append(row)
            masks.append(mask)
            tokens[task] += len(row)
            learnt[task] += int(mask.sum())
            counts[task] += 1
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in ids])]).astype(np.int64)
    np.savez(
        folder / f"{phase.name}.npz", ids=np.concatenate(ids), mask=np.concatenate(masks), offsets=offsets
    )
    total = sum(tokens.values())
    print(f"{phase.name}: {len(ids)} examples, {total} tokens, {sum(learnt.values())} learnt")
    print(f"  {'task':18s} {'examples':>8s} {'tokens':>9s} {'share':>6s} {'mean':>6s} {'learnt':>6s}")
    for task, count in tokens.most_common():
        mean, share, said = count / counts[task], count / total, learnt[task] / counts[task]
        print(f"  {task:18s} {counts[task]:8d} {count:9d} {share:6.1%} {mean:6.1f} {said:6.1f}")


def build_data(folder: Path, seed: int, scale: float, sample: int = TOKENIZER_SAMPLE) -> None:
    """Writes the tokenizer to <folder>/tokenizer and each phase to <folder>/<phase>.npz.

    scale: share of each phase's tokens to make, 1.0 for the whole; a smoke run needs less.
    sample: how many examples the tokenizer is made from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = build(sample_for_tokenizer(seed, sample), seed)
    save(tokenizer, folder / "tokenizer")
    lengths = mean_tokens(tokenizer, seed)
    for phase in PHASES:
        shortened = Phase(phase.name, int(phase.tokens * scale), phase.shares)
        write_phase(shortened, tokenizer, lengths, seed, folder)
    (folder / "data.json").write_text(
        json.dumps({"seed": seed, "scale": scale, "phases": [p.name for p in PHASES]})
    )
