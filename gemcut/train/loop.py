"""The training loop: what differs is the data, and which weights ask for gradients.

`Training.steps` yields a report after every update; whoever runs it logs, saves and exports between two of
them.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from gemcut.errors import BadTraining
from gemcut.train.batches import Batch, Shape, Source
from gemcut.train.optimiser import Optimiser, Rates
from gemcut.train.schedule import Budget, Schedule

FORMAT = 1  # of the state file


@dataclass(frozen=True)
class Phase:
    """A stretch of training.

    until: the share of the whole run at which it ends; the last one's is 1.0.
    rate: what the schedule's learning rates are multiplied by; at the phase's end by `last_rate`, between the
    two by what lies between.
    """

    name: str
    source: Source
    until: float
    rate: float = 1.0
    last_rate: float | None = None

    def rate_at(self, progress: float, begun: float) -> float:
        """The rate at this share of the run, where the phase began at another."""
        if self.last_rate is None:
            return self.rate
        return self.rate + (self.last_rate - self.rate) * (progress - begun) / (self.until - begun)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to train.

    clip: the largest norm of all gradients together.
    """

    shape: Shape
    rates: Rates
    budget: Budget
    schedule: Schedule
    seed: int
    clip: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Report:
    """One update.

    tokens, seconds: since the run began, without the pauses between its parts.  loss: nats a learnt token.
    """

    step: int
    phase: str
    tokens: int
    loss: float
    gradient_norm: float
    rate: float
    seconds: float
    progress: float


Model = TypeVar("Model", bound=nn.Module)


class Training(Generic[Model]):
    """A model in training: its optimiser, its place in the data, and the time it has used.

    loss_of: the scalar that an update makes smaller.
    Raises BadTraining where the phases or options cannot be used with this model.
    """

    def __init__(
        self,
        model: Model,
        phases: Sequence[Phase],
        options: Options,
        loss_of: Callable[[Model, Any], Tensor],
    ) -> None:
        self.model = model
        self.loss_of = loss_of
        self.phases = tuple(phases)
        self.options = options
        self._check()
        self.optimiser = Optimiser(model.named_parameters(), options.rates)
        self.step = 0
        self.tokens = 0
        self.seconds = 0.0
        self.taken = [0] * len(phases)  # batches of each phase

    def _check(self) -> None:
        if not self.phases:
            raise BadTraining("there is nothing to train on; give at least one phase")
        ends = [phase.until for phase in self.phases]
        if sorted(set(ends)) != ends or ends[0] <= 0 or ends[-1] != 1.0:
            raise BadTraining(
                f"the phases end at {ends} of the run; the ends must rise, and the last must be 1.0"
            )
        if not any(parameter.requires_grad for parameter in self.model.parameters()):
            raise BadTraining("no weight of the model asks for a gradient; set requires_grad on some")
        for phase in self.phases:
            phase.source.check(self.options.shape)
        for part in (self.options.shape, self.options.rates, self.options.budget, self.options.schedule):
            part.check()
        if not self.options.clip > 0:
            raise BadTraining(f"clip={self.options.clip} is no norm; give a number above 0")

    @property
    def progress(self) -> float:
        """The share of the budget that is used, 0 to 1."""
        return self.options.budget.progress(self.step, self.seconds)

    def steps(self) -> Iterator[Report]:
        """Updates the model until the budget is used up, with a report after each update."""
        device = next(self.model.parameters()).device
        streams: dict[int, Iterator[Batch]] = {}
        self.model.train()
        while (progress := self.progress) < 1.0:
            begun = time.monotonic()
            index = next(i for i, phase in enumerate(self.phases) if progress < phase.until)
            if index not in streams:
                seed, skip = self.options.seed + index, self.taken[index]
                streams[index] = self.phases[index].source.batches(self.options.shape, seed, skip)
            batch = next(streams[index])
            begun_at = self.phases[index - 1].until if index else 0.0
            rate = self.phases[index].rate_at(progress, begun_at)
            factor = self.options.schedule.factor(self.step, progress) * rate
            loss, norm = self._update(batch.to(device), factor)
            self.step += 1
            self.taken[index] += 1
            self.tokens += batch.num_tokens
            self.seconds += time.monotonic() - begun
            yield Report(
                step=self.step,
                phase=self.phases[index].name,
                tokens=self.tokens,
                loss=loss,
                gradient_norm=norm,
                rate=self.options.rates.matrices * factor,
                seconds=self.seconds,
                progress=self.progress,
            )
        self.model.eval()

    def _update(self, batch: Batch, factor: float) -> tuple[float, float]:
        """One update; returns the loss before it and the norm of the gradients before clipping."""
        loss = self.loss_of(self.model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        weights = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(weights, self.options.clip)
        value = loss.item()
        if not value < float("inf"):
            raise BadTraining(
                f"the loss is {value} at step {self.step + 1}; lower the learning rates, and start again"
            )
        self.optimiser.step(factor)
        return value, norm.item()

    def save(self, path: Path) -> None:
        """Writes everything that the rest of the run depends on; the file is whole at any time."""
        state = {
            "format": FORMAT,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "taken": self.taken,
            "options": self._identity(),
        }
        part = path.with_name(path.name + ".part")
        torch.save(state, part)
        os.replace(part, path)

    def resume(self, path: Path) -> None:
        """Takes up a saved run; what follows is the same as without the pause.

        Raises BadTraining where the file is missing, damaged, or of a run with other data or options.
        """
        if not path.is_file():
            raise BadTraining(f"there is no run to resume in {path}; start without resuming")
        try:
            state = torch.load(path, weights_only=True)
            if state["format"] != FORMAT or state["options"] != self._identity():
                raise BadTraining(
                    f"{path} is of a run with other data or options; repeat those, or start anew"
                )
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, EOFError, KeyError, ValueError, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise BadTraining(f"{path} cannot be resumed from: {reason}; start without resuming") from None
        self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]
        self.taken = state["taken"]

    def _identity(self) -> dict[str, Any]:
        """What a resumed run must have in common with the one that was saved."""
        phases = [
            [phase.name, *phase.source.identity(), phase.until, phase.rate, phase.last_rate]
            for phase in self.phases
        ]
        shape, schedule = asdict(self.options.shape), asdict(self.options.schedule)
        return {"phases": phases, "shape": shape, "schedule": schedule, "seed": self.options.seed}
