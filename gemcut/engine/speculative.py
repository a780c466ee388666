"""Speculative decoding: tokens guessed cheaply, checked by the model in one step, kept where they agree.

The model chooses at every guessed place with the draw that this place always has, and a guess is kept as long
as it names that choice.  So the tokens are those that come without guesses, greedy or sampled, and a seeded
reply does not depend on what was guessed.  A guess x is kept with probability p(x), where p is what the token
would be drawn from: after penalties, grammar and all filters.

Here is what needs no tensors: guesses from the text itself, how many are kept, what they cost, and who gets
how many.  Source: Leviathan et al. 2023 (arXiv 2211.17192); LZ77 for the look-up that runs into its own copy.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from gemcut.errors import BadOption

Speculate = Literal["auto", "lookup", "drafter", "off"]
MOST_DRAFTS = 5


@dataclass(frozen=True, kw_only=True)
class Speculation:
    """What may be guessed.

    speculate: "lookup" guesses what followed the same tokens earlier, "drafter" what the assistant model
    says, "auto" whichever of the two was right more often, "off" nothing.
    max_drafts: the most guesses of one sequence in a step.

    Raises BadOption for another word, and where max_drafts is below 1.
    """

    speculate: Speculate = "auto"
    max_drafts: int = MOST_DRAFTS

    def __post_init__(self) -> None:
        if self.speculate not in get_args(Speculate):
            raise BadOption(f"speculate is {self.speculate!r}; it may be {', '.join(get_args(Speculate))}")
        if self.max_drafts < 1:
            raise BadOption(f'max_drafts is {self.max_drafts}; give at least 1, or speculate="off"')


USUAL = Speculation()


class PromptLookup:
    """Guesses what followed the last tokens where they stood together before.

    longest, shortest: how many last tokens must agree; the longest agreement counts, and of several places
    the latest.  Extending and guessing take time that does not grow with the sequence.
    """

    def __init__(self, longest: int = 3, shortest: int = 2) -> None:
        assert 1 <= shortest <= longest
        self._lengths = tuple(range(shortest, longest + 1))
        self._ids: list[int] = []
        self._last: tuple[int, ...] = ()  # of these, as many as may have to agree
        self._after: dict[tuple[int, ...], int] = {}  # the latest place behind these tokens

    def __len__(self) -> int:
        return len(self._ids)

    def extend(self, ids: Sequence[int]) -> None:
        """Tokens that follow those it has."""
        for token in ids:
            for length in self._lengths:
                if length <= len(self._last):
                    self._after[self._last[-length:]] = len(self._ids)
            self._ids.append(token)
            self._last = (*self._last, token)[-self._lengths[-1] :]

    def draft(self, count: int) -> list[int]:
        """At most `count` tokens; none where the last ones were not together before.

        A draft that runs past the end goes on with itself: "ab ab" drafts "ab ab ab …".
        """
        start = None
        for length in self._lengths:  # what stands nowhere in twos stands nowhere in threes
            found = self._after.get(self._last[-length:]) if length <= len(self._last) else None
            if found is None:
                break
            start = found
        if start is None:
            return []
        copied = self._ids[start : start + count]
        while len(copied) < count:
            copied.append(copied[start + len(copied) - len(self._ids)])
        return copied


class Acceptance:
    """How probably a guess of one source is kept in one sequence, from those that were checked.

    It begins with hope, so a few wrong guesses are the price of finding out.  Where they do not pay it rests,
    and hopes again after `REST` steps, after twice as many each time that hope was wrong, and at most after
    `LONGEST_REST`.
    """

    HOPE, WEIGHT = 0.8, 2.0  # what it expects before it has seen anything, worth so many guesses
    MEMORY = 0.95  # what a guess seen counts when the next one has been seen
    PROVEN = 60  # guesses seen, after which the next rest is a short one again
    REST, LONGEST_REST = 16, 512

    def __init__(self) -> None:
        self._rest = self.REST
        self._resting = 0
        self._kept, self._checked, self._seen = self.HOPE * self.WEIGHT, self.WEIGHT, 0

    @property
    def expected(self) -> float:
        """The probability that a guess is kept if those before it are; 0 while it rests."""
        return 0.0 if self._resting else self._kept / self._checked

    def pass_step(self) -> None:
        """A step has passed."""
        if self._resting:
            self._resting -= 1

    def record(self, drafted: int, agreed: int) -> None:
        """What became of a draft: guesses behind the first wrong one were not checked."""
        for kept in [True] * agreed + [False] * (agreed < drafted):
            self._kept = self._kept * self.MEMORY + kept
            self._checked = self._checked * self.MEMORY + 1
            self._seen += 1
        if self._seen > self.PROVEN:
            self._rest = self.REST

    def rest(self) -> None:
        """Guesses do not pay now: rests, unless that is for other reasons than those that were wrong."""
        if self._seen == 0:
            return
        self._resting = self._rest
        self._rest = min(2 * self._rest, self.LONGEST_REST)
        self._kept, self._checked, self._seen = self.HOPE * self.WEIGHT, self.WEIGHT, 0


class StepTimes:
    """How long steps of so many rows take: a mean of those that ran lately.

    Of sizes that were not seen it knows what lies between their neighbours; above the largest it hopes that
    they take no longer, so they are tried, and then it knows.
    """

    LATELY = 128  # steps, after which a size must be measured again
    NEWEST = 0.25  # what the latest step counts in the mean

    def __init__(self) -> None:
        self._seconds: dict[int, tuple[float, int]] = {}  # and the number of the step that it ran in
        self._sizes: list[int] = []  # its keys, ascending
        self._steps = 0

    @staticmethod
    def _size(rows: int) -> int:
        """Rows in steps of an eighth or less: beyond 16 neighbours count as one size."""
        unit = 1 << max(0, rows.bit_length() - 4)
        return -(-rows // unit) * unit

    def record(self, rows: int, seconds: float) -> None:
        """A step of so many rows took so long."""
        self._steps += 1
        before = self._seconds.get(self._size(rows), (seconds, 0))[0]
        mean = before + self.NEWEST * (seconds - before)
        self._seconds[self._size(rows)] = mean, self._steps
        oldest = self._steps - self.LATELY
        self._seconds = {size: seen for size, seen in sorted(self._seconds.items()) if seen[1] > oldest}
        self._sizes = list(self._seconds)

    def of(self, rows: int) -> float | None:
        """Seconds of such a step; None where no smaller one ran lately either."""
        size = self._size(rows)
        place = bisect_right(self._sizes, size)
        if place == 0:
            return None
        below = self._sizes[place - 1]
        start = self._seconds[below][0]
        if below == size or place == len(self._sizes):
            return start
        above = self._sizes[place]
        return start + (self._seconds[above][0] - start) * (size - below) / (above - below)


@dataclass(frozen=True)
class Offer:
    """Guesses that one sequence could have.

    most: how many.  acceptance: the probability that one is kept if those before it are.
    made: whether a drafter must make them, a round for each, all sequences together; else they are there.
    """

    most: int
    acceptance: float
    made: bool


def share_rows(offers: Sequence[Offer], num_rows: int, times: StepTimes, round_s: float) -> list[int]:
    """How many guesses of each offer to check, for the most tokens a second.

    num_rows: of the step without guesses, whose time is known.  round_s: seconds of a round of the drafter.
    The guesses likeliest to be kept come first, one after another, and of all numbers of them the best is
    taken: tokens expected / (seconds of a step of so many rows + rounds of the drafter).
    """
    likely = [
        (-(offer.acceptance**place), place, number)
        for number, offer in enumerate(offers)
        for place in range(1, offer.most + 1)
        if offer.acceptance > 0
    ]
    likely.sort()
    tokens, rounds, best, best_rate = float(num_rows), 0, 0, 0.0
    for count, (less, place, number) in enumerate([(0.0, 0, 0), *likely]):
        tokens -= less
        rounds = max(rounds, place) if count and offers[number].made else rounds
        seconds = times.of(num_rows + count)
        assert seconds is not None, "the time of fewer rows is known"
        if (rate := tokens / (seconds + rounds * round_s)) > best_rate:
            best, best_rate = count, rate
    counts = [0] * len(offers)
    for _, place, number in likely[:best]:
        counts[number] = place
    return counts
