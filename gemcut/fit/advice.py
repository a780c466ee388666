"""Which model to take for what: the best published score among those that fit and are quick enough."""

from collections.abc import Sequence
from dataclasses import dataclass

from gemcut.fit.estimate import Estimate
from gemcut.fit.scores import SCORES, Score
from gemcut.fit.weights import PRECISIONS

QUICK_PER_S = 8.0  # tokens: faster than people read


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What to take for one task.  value: the published score of the size, in percent."""

    score: Score
    take: Estimate
    value: float


def advise(estimates: Sequence[Estimate]) -> list[Advice]:
    """For each task that something here is able to do, the best of it.

    Among what fits, in forms that gemcut is fast in where there are any, those that decode quickly enough
    count; where none does, the quickest.  Of a size, the most exact precision among them is taken.
    """
    advices = []
    for score in SCORES:
        able = [one for one in estimates if _able(one, score)]
        able = [one for one in able if one.reached] or able
        quick = [one for one in able if not is_slow(one)]
        if able and not quick:
            quick = [max(able, key=_speed)]
        name = score.best(frozenset(one.family.name for one in quick))
        if name is not None:
            of_it = [one for one in quick if one.family.name == name]
            take = min(of_it, key=lambda one: PRECISIONS.index(one.precision))
            advices.append(Advice(score=score, take=take, value=score.by_size[name]))
    return advices


def is_slow(one: Estimate) -> bool:
    """Whether people would wait for it.  What nothing is known of is not."""
    return one.decode_per_s is not None and one.decode_per_s < QUICK_PER_S


def _able(one: Estimate, score: Score) -> bool:
    return (
        one.verdict == "fits"
        and one.family.name in score.by_size
        and score.takes in one.family.takes
        and one.context >= score.context
    )


def _speed(one: Estimate) -> float:
    return 0.0 if one.decode_per_s is None else one.decode_per_s
