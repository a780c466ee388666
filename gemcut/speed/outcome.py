"""What came out: speeds round by round, beside the floor and beside the other program."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gemcut.config import TextConfig
from gemcut.fit.estimate import decode_s, prefill_s
from gemcut.fit.rates import Rates
from gemcut.fit.weights import Weights
from gemcut.speed.order import About, Shape, Taken

What = Literal["prefill", "decode"]


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round.  floor: the machine at its best, as it was in that round."""

    floor: Rates
    ours: Mapping[Shape, Taken]
    theirs: Mapping[Shape, Taken] | None


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Tokens a second of all requests together, round by round.

    floors: what they could not have been above.  theirs: the other program's.
    """

    what: What
    shape: Shape
    ours: tuple[float, ...]
    floors: tuple[float, ...]
    theirs: tuple[float, ...] | None

    @property
    def reached(self) -> tuple[float, ...]:
        """The share of the floor that was reached; 1 is all of it."""
        return _divided(self.ours, self.floors)

    @property
    def ratios(self) -> tuple[float, ...] | None:
        """How many times as fast as the other program."""
        return None if self.theirs is None else _divided(self.ours, self.theirs)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """All that was measured of one precision.

    their_precision: of the other program's weights.  floors: of each round.
    """

    precision: str
    their_precision: str | None
    ours: About
    theirs: About | None
    floors: tuple[Rates, ...]
    speeds: tuple[Speed, ...]


def speeds_of(
    text: TextConfig, weights: Weights, shapes: Sequence[Shape], rounds: Sequence[Round]
) -> tuple[Speed, ...]:
    """The speeds of each shape: of reading the prompts, and of the tokens after them."""
    found = []
    for shape in shapes:
        ours = [one.ours[shape] for one in rounds]
        theirs = [one.theirs[shape] for one in rounds if one.theirs is not None]
        floors = [floor_of(text, weights, shape, one.floor) for one in rounds]
        whats: tuple[What, ...] = ("prefill", "decode")
        for what in whats:
            mine, floor, other = (
                tuple(_per_s(what, shape, taken) for taken in each) for each in (ours, floors, theirs)
            )
            found.append(Speed(what=what, shape=shape, ours=mine, floors=floor, theirs=other or None))
    return tuple(found)


def floor_of(text: TextConfig, weights: Weights, shape: Shape, rates: Rates) -> Taken:
    """What a shape takes at least: `gemcut fit`'s prediction for a machine that does nothing else."""
    tokens = shape.batch * shape.prompt_tokens
    return Taken(
        prefill_s=prefill_s(text, weights, tokens, rates),
        step_s=decode_s(text, weights, shape.prompt_tokens, shape.batch, rates),
    )


def _per_s(what: What, shape: Shape, taken: Taken) -> float:
    if what == "prefill":
        return shape.batch * shape.prompt_tokens / taken.prefill_s
    return shape.batch / taken.step_s


def _divided(above: Sequence[float], below: Sequence[float]) -> tuple[float, ...]:
    return tuple(a / b for a, b in zip(above, below, strict=True))
