"""How long training lasts, and how the learning rate goes over it."""

from dataclasses import dataclass

from gemcut.errors import BadTraining


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The end of a run: a number of updates, or minutes of training on this machine."""

    steps: int | None = None
    minutes: float | None = None

    def check(self) -> None:
        """Raises BadTraining unless exactly one is given, above 0."""
        if (self.steps is None) == (self.minutes is None):
            raise BadTraining(
                f"the budget is steps={self.steps}, minutes={self.minutes}; give exactly one of the two"
            )
        if (self.steps is not None and self.steps < 1) or (self.minutes is not None and not self.minutes > 0):
            raise BadTraining(
                f"the budget is steps={self.steps}, minutes={self.minutes}; give a number above 0"
            )

    def progress(self, step: int, seconds: float) -> float:
        """The share that is used after so many updates and seconds, at most 1."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        assert self.minutes is not None
        return min(1.0, seconds / (60 * self.minutes))


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The learning rate rises for `warm_up` updates, stays, and falls in a line from `decay_from` to the end.

    decay_from: a share of the run.
    """

    warm_up: int
    decay_from: float

    def check(self) -> None:
        """Raises BadTraining where a number is out of its range."""
        if self.warm_up < 0 or not 0 <= self.decay_from < 1:
            raise BadTraining(
                f"the schedule warms up for {self.warm_up} updates and decays from {self.decay_from} "
                "of the run; give a number of updates, and a share from 0 to below 1"
            )

    def factor(self, step: int, progress: float) -> float:
        """What the peak learning rates are multiplied by after so many updates, at this share of the run."""
        rise = min(1.0, (step + 1) / (self.warm_up + 1))
        return rise * min(1.0, (1 - progress) / (1 - self.decay_from))
