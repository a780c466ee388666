"""Examples packed whole into rows of one length, and rows into batches of one shape.

Letters: G groups (rows of a batch), T tokens of a row, R places for learnt tokens of a row.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gemcut.errors import BadTraining
from gemcut.train.examples import Examples

OPEN_ROWS = 64  # how many rows wait for an example that fits


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What every batch looks like: G groups of T tokens, of which at most R are learnt."""

    groups: int
    tokens: int
    learnt: int

    def check(self) -> None:
        """Raises BadTraining where a number is below 1."""
        if min(self.groups, self.tokens, self.learnt) < 1:
            raise BadTraining(
                f"a batch of {self.groups} groups, {self.tokens} tokens, {self.learnt} learnt holds nothing"
            )

    def check_examples(self, examples: Examples) -> None:
        """Raises BadTraining where an example is larger than a row."""
        for what, sizes, most in (
            ("tokens", examples.lengths, self.tokens),
            ("learnt", examples.num_learnt, self.learnt),
        ):
            if (largest := int(sizes.max())) > most:
                kind = "tokens" if what == "tokens" else "tokens to learn"
                raise BadTraining(
                    f"example {int(sizes.argmax())} has {largest} {kind} and a row of a batch holds {most}; "
                    f"shorten it, or train with rows of {what}={largest}"
                )


@dataclass(frozen=True)
class Batch:
    """Tensors of one training step.

    ids, sequences, positions: (G, T) int64; `sequences` numbers the examples of a row, -1 after the last.
    outputs: (G·R,) int64, rows whose next token is learnt.  targets: (G·R,) int64, those tokens.
    weights: (G·R,) float32, 1 for each of them, 0 for the places that are left over.
    """

    ids: Tensor
    sequences: Tensor
    positions: Tensor
    outputs: Tensor
    targets: Tensor
    weights: Tensor

    @property
    def num_tokens(self) -> int:
        """Tokens of its examples, without the places after the last one of a row."""
        return int((self.sequences >= 0).sum())

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        tensors = {name: getattr(self, name) for name in self.__dataclass_fields__}
        moved = {n: t.to(device, non_blocking=True) for n, t in tensors.items() if isinstance(t, Tensor)}
        return replace(self, **moved)


class Source(Protocol):
    """Where the batches of a stretch of training come from."""

    def check(self, shape: Shape) -> None:
        """Raises BadTraining where batches of this shape cannot be made of it."""
        ...

    def batches(self, shape: Shape, seed: int, skip: int) -> Iterator[Batch]:
        """Batches for ever, the same for the same seed, without the first `skip`."""
        ...

    def identity(self) -> list[Any]:
        """What a run that is taken up again must have in common with the one that was stopped; plain data."""
        ...


@dataclass(frozen=True)
class Texts:
    """Batches of examples of text.  vocab_size: of the model."""

    examples: Examples
    vocab_size: int

    def check(self, shape: Shape) -> None:
        """Raises BadTraining for examples that are damaged, larger than a row, or of another vocabulary."""
        self.examples.check(self.vocab_size)
        shape.check_examples(self.examples)

    def batches(self, shape: Shape, seed: int, skip: int) -> Iterator[Batch]:
        """Rows packed with whole examples; every epoch has another order."""
        return batches(self.examples, shape, seed, skip)

    def identity(self) -> list[Any]:
        """How many examples and tokens there are."""
        return [len(self.examples), len(self.examples.ids)]


@dataclass
class _Row:
    """A row that is being filled."""

    examples: list[int]
    free: int
    free_learnt: int


def pack(examples: Examples, shape: Shape, seed: int) -> Iterator[list[int]]:
    """The examples of each row, for ever: every epoch has another order, the same for the same seed.

    An example goes to the fullest open row that has room for it.
    """
    lengths, num_learnt = examples.lengths.tolist(), examples.num_learnt.tolist()
    epoch = 0
    while True:
        open_rows: list[_Row] = []
        for index in np.random.default_rng((seed, epoch)).permutation(len(examples)).tolist():
            size, learnt = lengths[index], num_learnt[index]
            fitting = [row for row in open_rows if row.free >= size and row.free_learnt >= learnt]
            row = min(fitting, key=lambda row: row.free, default=None)
            if row is None:
                if len(open_rows) == OPEN_ROWS:
                    fullest = min(open_rows, key=lambda row: min(row.free, row.free_learnt))
                    open_rows.remove(fullest)
                    yield fullest.examples
                row = _Row([], shape.tokens, shape.learnt)
                open_rows.append(row)
            row.examples.append(index)
            row.free -= size
            row.free_learnt -= learnt
        for row in open_rows:
            yield row.examples
        epoch += 1


def batches(examples: Examples, shape: Shape, seed: int, skip: int = 0) -> Iterator[Batch]:
    """Batches for ever, without the first `skip`: a run that is taken up again goes on where it stopped."""
    rows = pack(examples, shape, seed)
    for _ in range(skip * shape.groups):
        next(rows)
    while True:
        yield make_batch(examples, [next(rows) for _ in range(shape.groups)], shape)


def make_batch(examples: Examples, rows: list[list[int]], shape: Shape) -> Batch:
    """The tensors of rows of examples."""
    grid, places = (shape.groups, shape.tokens), (shape.groups, shape.learnt)
    ids, sequences = np.zeros(grid, np.int64), np.full(grid, -1, np.int64)
    positions = np.zeros(grid, np.int64)
    outputs = np.repeat(np.arange(shape.groups)[:, None] * shape.tokens, shape.learnt, axis=1)
    targets, weights = np.zeros(places, np.int64), np.zeros(places, np.float32)
    for group, row in enumerate(rows):
        start = used = 0
        for number, index in enumerate(row):
            tokens, mask = _example(examples, index)
            end = start + len(tokens)
            ids[group, start:end], sequences[group, start:end] = tokens, number
            positions[group, start:end] = np.arange(len(tokens))
            learnt = np.flatnonzero(mask[1:]) + 1  # token i is predicted from row i - 1
            place = slice(used, used + len(learnt))
            outputs[group, place] = group * shape.tokens + start + learnt - 1
            targets[group, place], weights[group, place] = tokens[learnt], 1.0
            start, used = end, place.stop
    arrays = (ids, sequences, positions, outputs.reshape(-1), targets.reshape(-1), weights.reshape(-1))
    return Batch(*(torch.from_numpy(array) for array in arrays))


def _example(examples: Examples, index: int) -> tuple[NDArray[np.integer], NDArray[np.uint8]]:
    part = slice(int(examples.offsets[index]), int(examples.offsets[index + 1]))
    return examples.ids[part], examples.mask[part]
