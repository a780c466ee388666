"""Speculative decoding: tokens drafted cheaply, checked by the model in one step, kept where they agree.

Two ways to check, both exact:

- `num_agreed`: the model's own choice is made at every drafted place, with the draw that this place always
  has; a draft is kept as long as it names that choice.  The output is the same tokens as without drafts,
  greedy or sampled, so a seeded reply does not depend on what was drafted.  A draft x is kept with
  probability p(x), and nothing keeps more of drafts that are certain (prompt look-up, greedy drafters).
- `keep_or_replace`: rejection sampling, for drafts that were drawn from a distribution q of their own.  A
  draft is kept with probability min(1, p/q): of all drafts 1 − (distance of p and q).  The output has the
  model's distribution, but which tokens come depends on what was drafted.

p is what the token would be drawn from without drafts: after penalties, grammar and all filters.
Source: Leviathan et al. 2023 (arXiv 2211.17192); LZ77 for the look-up that runs into its own copy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def num_agreed(drafted: Sequence[int], chosen: Sequence[int]) -> int:
    """How many drafted tokens, from the first on, are those that the model chose at their places."""
    agreed = 0
    for draft, choice in zip(drafted, chosen, strict=False):
        if draft != choice:
            break
        agreed += 1
    return agreed


@dataclass(frozen=True)
class Distribution:
    """Probabilities of the tokens that may come; all others have none.

    probabilities: (S,) float64 on the CPU, their sum 1.  ids: (S,) int64, each once.
    """

    probabilities: Tensor
    ids: Tensor

    @classmethod
    def of_weights(cls, weights: Tensor, ids: Tensor) -> "Distribution":
        """From weights (S,) that need not sum to 1, as `Sampler.candidates` gives them."""
        wide = weights.double()
        return cls(wide / wide.sum(), ids)

    def of(self, token: int) -> float:
        """The token's probability."""
        return float(self.probabilities[self.ids == token].sum())

    def draw(self, uniform: float) -> int:
        """The token at that height, from 0 to 1, of the cumulated probabilities."""
        cumulative = self.probabilities.cumsum(0)
        place = int(torch.searchsorted(cumulative, uniform * float(cumulative[-1]), right=True))
        return int(self.ids[min(place, len(self.ids) - 1)])

    def without(self, other: "Distribution") -> "Distribution":
        """What is left of it above the other, as a distribution: max(0, p − q), renormalised.

        The two must differ.
        """
        same = self.ids[:, None] == other.ids  # (S, S')
        rest = (self.probabilities - same.double() @ other.probabilities).clamp_min(0)
        return Distribution.of_weights(rest, self.ids)


def keep_or_replace(
    token: int, draft: Distribution, target: Distribution, uniforms: tuple[float, float]
) -> tuple[bool, int]:
    """Whether a drafted token is kept, and the token that stands in its place: itself, or another.

    draft: what it was drawn from.  target: the model's distribution at this place.
    uniforms: two independent draws from 0 to 1, for keeping and for replacing.
    """
    keeping, replacing = uniforms
    p, q = target.of(token), draft.of(token)
    if keeping * q < p:
        return True, token
    return False, target.without(draft).draw(replacing)


class PromptLookup:
    """Drafts what followed the last tokens where they stood together before.

    longest, shortest: how many last tokens must agree; the longest agreement counts, and of several places
    the latest.  Extending and drafting take time that does not grow with the sequence.
    """

    def __init__(self, longest: int = 4, shortest: int = 2) -> None:
        assert 1 <= shortest <= longest
        self._ids: list[int] = []
        self._after: dict[int, dict[tuple[int, ...], int]] = {
            length: {} for length in range(longest, shortest - 1, -1)
        }

    def extend(self, ids: Sequence[int]) -> None:
        """Tokens that follow those it has."""
        for token in ids:
            place = len(self._ids)
            for length, after in self._after.items():
                if place >= length:
                    after[tuple(self._ids[place - length :])] = place
            self._ids.append(token)

    def draft(self, count: int) -> list[int]:
        """At most `count` tokens; none where the last ones were not together before.

        A draft that runs past the end goes on with itself: "ab ab" drafts "ab ab ab …".
        """
        for length, after in self._after.items():
            start = after.get(tuple(self._ids[-length:])) if len(self._ids) >= length else None
            if start is not None:
                copied = self._ids[start : start + count]
                while len(copied) < count:
                    copied.append(copied[start + len(copied) - len(self._ids)])
                return copied
        return []


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What drafting costs, in units of a step without drafts.

    draft: one more drafted token.  rows: a step with 0, 1, 2 … drafted rows more to check, from 1.0 on.
    """

    draft: float
    rows: tuple[float, ...]

    @property
    def most(self) -> int:
        """The longest draft that a price is known for."""
        return len(self.rows) - 1

    def gain(self, count: int, acceptance: float) -> float:
        """Tokens a unit of time, of drafts of `count` tokens of which each is kept with that probability."""
        tokens = sum(acceptance**place for place in range(count + 1))
        return float(tokens / (self.rows[count] + count * self.draft))

    def best(self, acceptance: float) -> int:
        """The length of draft that gains most; 0 where none gains."""
        return max(range(self.most + 1), key=lambda count: self.gain(count, acceptance))


class DraftLength:
    """How many tokens to draft, from the acceptance it has seen; 0 for a while where drafts do not pay.

    It begins with hope, so a few bad drafts are the price of finding out.  Then it rests, and hopes again
    after `REST` steps, after twice as many each time that hope was wrong, and at most after `LONGEST_REST`.
    """

    HOPE, WEIGHT = 0.8, 2.0  # what it expects before it has seen anything, worth so many tokens
    MEMORY = 0.95  # what a token seen counts when the next one has been seen
    PROVEN = 60  # tokens seen, after which hope counts no more
    REST, LONGEST_REST = 16, 512

    def __init__(self, costs: Costs) -> None:
        self._costs = costs
        self._rest = self.REST
        self._resting = 0
        self._kept, self._checked, self._seen = self.HOPE * self.WEIGHT, self.WEIGHT, 0

    @property
    def acceptance(self) -> float:
        """The share of checked tokens that it expects to be kept."""
        return self._kept / self._checked

    def choose(self) -> int:
        """The length of the next draft; one call a step."""
        if self._resting > 0:
            self._resting -= 1
            return 0
        return self._costs.best(self.acceptance)

    def record(self, drafted: int, agreed: int) -> None:
        """What became of a draft: tokens behind the first wrong one were not checked."""
        for kept in [True] * agreed + [False] * (agreed < drafted):
            self._kept = self._kept * self.MEMORY + kept
            self._checked = self._checked * self.MEMORY + 1
            self._seen += 1
        if drafted == 0:
            return
        if self._costs.best(self.acceptance) == 0:
            self._resting = self._rest
            self._rest = min(2 * self._rest, self.LONGEST_REST)
            self._hope_again()
        elif self._seen > self.PROVEN:
            self._rest = self.REST

    def _hope_again(self) -> None:
        self._kept, self._checked, self._seen = self.HOPE * self.WEIGHT, self.WEIGHT, 0
