"""Measuring in rounds: the machine, then each side in turn, so that a machine whose speed drifts is fair."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import torch

from gemcut.errors import BadOption
from gemcut.fit.estimate import STEP_TOKENS
from gemcut.fit.measure import measure, read_rate
from gemcut.fit.rates import Rates
from gemcut.opened import Opened
from gemcut.speed.order import Shape, Taken
from gemcut.speed.outcome import Outcome, Round, speeds_of
from gemcut.speed.rivals import Rival, Running
from gemcut.speed.side import Side
from gemcut.speed.variants import Variant, weights_of

WARM_TOKENS = 2  # are made in a first round that does not count
WARMS_ITSELF = ("llama.cpp",)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be measured.

    variants: of one model.  rounds: of which medians are told.  rival: the program beside us.
    Raises BadOption for what cannot be done, before any work.
    """

    variants: tuple[Variant, ...]
    shapes: tuple[Shape, ...]
    rounds: int
    threads: int
    device: torch.device
    rival: Rival | None

    def __post_init__(self) -> None:
        for option, value in {"--rounds": self.rounds, "--threads": self.threads}.items():
            if value < 1:
                raise BadOption(f"{option} is {value}; it must be at least 1")
        for shape in self.shapes:
            self._check_shape(shape)
        if self.rival is not None:
            self.rival.check(self.variants, self.shapes)
        self._check_disk()

    @property
    def source(self) -> Opened:
        """The model."""
        return self.variants[0].source

    @property
    def running(self) -> Running:
        """How each side runs it."""
        return Running(threads=self.threads, device=str(self.device))

    def _check_shape(self, shape: Shape) -> None:
        step_tokens = STEP_TOKENS["gpu" if self.device.type == "cuda" else "cpu"]
        if shape.batch > step_tokens // 2:
            raise BadOption(
                f"--batch is {shape.batch}; at most {step_tokens // 2} requests are measured at once"
            )
        most, context = shape.most_tokens(step_tokens), self.source.config.text.max_position_embeddings
        if most > context:
            raise BadOption(
                f"--prompt {shape.prompt_tokens} with --tokens {shape.new_tokens} and --batch {shape.batch} "
                f"takes up to {most:,} tokens and this model's context holds {context:,}; lower them"
            )

    def _check_disk(self) -> None:
        """Raises BadOption where the files that are made for the time would not fit."""
        rival, folder = self.rival, tempfile.gettempdir()
        needed = max(one.num_bytes + (0 if rival is None else rival.num_bytes(one)) for one in self.variants)
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise BadOption(
                f"the model's files in that precision take {needed / 1e9:.1f} GB and {folder} has "
                f"{free / 1e9:.1f} GB free; set TMPDIR to a larger disk, or use `gemcut quantize`"
            )


class Rounds:
    """A plan under way: `steps` does the work, `outcomes` has what came of it so far."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.outcomes: list[Outcome] = []
        tokenizer = plan.source.tokenizer()
        self._ids = [number for number in range(tokenizer.vocab_size) if not tokenizer.is_control(number)]
        self._seeds = count()

    def steps(self) -> Iterator[str]:
        """Measures everything, and says before each piece of work what it is.

        Raises BenchFailed.  Who stops reading ends the processes.
        """
        torch.set_num_threads(self._plan.threads)
        for variant in self._plan.variants:
            with ExitStack() as stack:
                yield from self._variant(variant, stack)

    def _variant(self, variant: Variant, stack: ExitStack) -> Iterator[str]:
        plan, rival = self._plan, self._plan.rival
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gemcut-bench-")))
        if variant.making is not None:
            yield f"{variant.name}: quantising"
        placed = variant.placed(folder)
        yield f"{variant.name}: measuring the machine"
        self._machine()  # once before a side holds memory, of which a GPU may have no more then
        yield f"{variant.name}: loading"
        sides = [stack.enter_context(Side("gemcut", self._given(variant, placed)))]
        if rival is not None:
            yield f"{variant.name}: preparing {rival.name}"
            given = rival.given(variant, placed, folder, plan.running)
            sides.append(stack.enter_context(Side(rival.name, given)))
        yield from self._warm(variant, sides)
        rounds: list[Round] = []
        for number in range(plan.rounds):
            yield from self._round(f"{variant.name}: round {number + 1} of {plan.rounds}", sides, rounds)
        ours, *others = [side.about for side in sides]
        assert ours is not None
        self.outcomes.append(
            Outcome(
                precision=variant.name,
                their_precision=None if rival is None else rival.precision(variant),
                ours=ours,
                theirs=others[0] if others else None,
                floors=tuple(one.floor for one in rounds),
                speeds=speeds_of(placed.config.text, weights_of(placed, variant.dtype), plan.shapes, rounds),
            )
        )

    def _given(self, variant: Variant, placed: Opened) -> Mapping[str, object]:
        """What our side is built from."""
        plan = self._plan
        return {
            "place": str(placed.place.resolve()),
            "device": str(plan.device),
            "dtype": variant.dtype,
            "threads": plan.threads,
            "most_running": max(shape.batch for shape in plan.shapes),
        }

    def _warm(self, variant: Variant, sides: Sequence[Side]) -> Iterator[str]:
        """Once what will be measured: files are in memory then, kernels built, steps recorded."""
        for side in sides:
            if side.name in WARMS_ITSELF:
                continue
            for shape in self._plan.shapes:
                yield f"{variant.name}: warming {side.name}"
                short = replace(shape, new_tokens=min(WARM_TOKENS, shape.new_tokens))
                side.take(short.order(self._ids, next(self._seeds)))

    def _round(self, doing: str, sides: Sequence[Side], rounds: list[Round]) -> Iterator[str]:
        """One round more."""
        yield f"{doing}, the machine"
        floor = self._machine()
        taken: list[dict[Shape, Taken]] = [{} for _ in sides]
        turn = -1 if len(rounds) % 2 else 1  # who begins changes from round to round
        for shape in self._plan.shapes:
            order = shape.order(self._ids, next(self._seeds))
            for side, found in [*zip(sides, taken, strict=True)][::turn]:
                yield f"{doing}, {side.name}, a prompt of {shape.prompt_tokens}"
                found[shape] = side.take(order)
        ours, *others = taken
        rounds.append(Round(floor=floor, ours=ours, theirs=others[0] if others else None))

    def _machine(self) -> Rates:
        """What this machine could do at this moment."""
        device = self._plan.device
        return measure(device).floor(read_rate(device))
