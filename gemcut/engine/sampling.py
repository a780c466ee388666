"""From logits to the next token.

Every draw depends on the seed and the token's place in the reply only, so the same seed gives the same
tokens whatever else runs.  Letters: V vocabulary.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from gemcut.config import GenerationConfig
from gemcut.errors import BadSampling


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How the next token is chosen and when to stop; None takes the model's own default.

    temperature: 0 always takes the likeliest token.
    top_k: draw among the k likeliest only.  top_p: among the fewest whose probabilities reach p (1 for all).
    min_p: not those below p times the likeliest one's probability (0 for all).
    repetition_penalty: divides the (positive) logits of tokens that were seen before; 1 for none.
    seed: the same seed gives the same tokens; None draws a new one.
    max_tokens: None goes on until the model stops or the context is full.
    stop: texts that end the reply and are not part of it; one string or several.
    max_thought_tokens: how many tokens a thought may have before it is closed; None for any number.

    Raises BadSampling for values out of range and for filters that greedy choice (temperature 0) would
    ignore.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    stop: str | Sequence[str] = ()
    max_thought_tokens: int | None = None

    def __post_init__(self) -> None:
        checks = (
            ("temperature", self.temperature, 0.0, 100.0, "0 is greedy, 1 is the model's own distribution"),
            ("top_p", self.top_p, 1e-9, 1.0, "1 keeps all tokens"),
            ("min_p", self.min_p, 0.0, 1.0, "0 keeps all tokens"),
            ("repetition_penalty", self.repetition_penalty, 0.01, 100.0, "1 is none"),
            ("top_k", self.top_k, 1, float("inf"), "a number as large as the vocabulary keeps all tokens"),
            ("max_tokens", self.max_tokens, 1, float("inf"), "leave it out for no limit but the context"),
            ("max_thought_tokens", self.max_thought_tokens, 1, float("inf"), "leave it out for no limit"),
            ("seed", self.seed, 0, 2**63 - 1, "leave it out for a new one each time"),
        )
        for name, value, low, high, hint in checks:
            if name in ("top_k", "max_tokens", "max_thought_tokens", "seed") and isinstance(value, float):
                raise BadSampling(f"{name} is {value}; it must be a whole number ({hint})")
            if value is not None and not low <= value <= high:
                raise BadSampling(f"{name} is {value}; it must be between {low:g} and {high:g} ({hint})")
        if self.temperature == 0:
            filters = {"top_k": self.top_k, "top_p": self.top_p, "min_p": self.min_p}
            idle = [
                name for name, value in filters.items() if value not in (None, {"top_p": 1.0}.get(name, 0))
            ]
            if idle:
                raise BadSampling(
                    f"temperature 0 always takes the likeliest token, so {', '.join(idle)} would be ignored;"
                    " leave them out or raise the temperature"
                )
        object.__setattr__(self, "stop", (self.stop,) if isinstance(self.stop, str) else tuple(self.stop))
        if not all(self.stop):
            raise BadSampling("a stop text is empty and would end every reply at once; leave it out")


class Chooser(Protocol):
    """What draws the tokens of a reply."""

    def choose(self, logits: Tensor, seen: Tensor, position: int) -> int:
        """The next token's id; see `Sampler.choose`."""


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Sampling with every choice made: what the user said, completed by the model's defaults."""

    temperature: float
    top_k: int | None
    top_p: float
    min_p: float
    repetition_penalty: float
    seed: int
    suppress_ids: tuple[int, ...]

    @classmethod
    def resolve(cls, params: SamplingParams, defaults: GenerationConfig) -> "Sampler":
        """The user's options where given, else those of the model's generation_config.json.

        Raises BadSampling for filters without a temperature where the model's own choice is greedy.
        """
        temperature = params.temperature
        if temperature is None:
            temperature = defaults.temperature if defaults.do_sample else 0.0
            replace(params, temperature=temperature)  # checks the two together
        return cls(
            temperature=temperature,
            top_k=params.top_k if params.top_k is not None else (defaults.top_k if defaults.top_k else None),
            top_p=params.top_p if params.top_p is not None else defaults.top_p,
            min_p=params.min_p if params.min_p is not None else defaults.min_p,
            repetition_penalty=(
                params.repetition_penalty
                if params.repetition_penalty is not None
                else defaults.repetition_penalty
            ),
            seed=params.seed if params.seed is not None else secrets.randbits(63),
            suppress_ids=defaults.suppress_ids,
        )

    def choose(self, logits: Tensor, seen: Tensor, position: int) -> int:
        """The next token's id.

        logits: (V,).  seen: ids of the prompt and of the reply so far, for the repetition penalty.
        position: how many tokens the reply has so far.
        """
        logits = self.penalised(logits, seen)
        if self.temperature == 0:
            return int(logits.argmax())
        probabilities, ids = self.candidates(logits)
        generator = torch.Generator().manual_seed(_mix(self.seed, position))
        draw = torch.rand((), generator=generator, dtype=torch.float64)
        cumulative = probabilities.cumsum(0)
        place = int(torch.searchsorted(cumulative, draw * cumulative[-1], right=True))
        return int(ids[min(place, len(ids) - 1)])

    def penalised(self, logits: Tensor, seen: Tensor) -> Tensor:
        """Logits (V,) after the repetition penalty, with the suppressed ids at minus infinity."""
        logits = logits.clone()
        if self.repetition_penalty != 1:
            known = logits[seen]
            logits[seen] = torch.where(
                known < 0, known * self.repetition_penalty, known / self.repetition_penalty
            )
        if self.suppress_ids:
            logits[list(self.suppress_ids)] = float("-inf")
        return logits

    def candidates(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (not renormalised) and ids of the tokens that may be drawn, likeliest first.

        Both on the CPU, in float64: sums on a GPU may differ from run to run.
        """
        count = len(logits) if self.top_k is None else min(self.top_k, len(logits))
        values, ids = (x.cpu() for x in logits.topk(count))
        wide = values.double()
        probabilities = ((wide - wide[0]) / self.temperature).softmax(0)  # finite at any temperature
        keep = (probabilities >= self.min_p * probabilities[0]) & (
            values > float("-inf")
        )  # those are forbidden
        if self.top_p < 1:
            before = probabilities.cumsum(0) - probabilities  # probability of all likelier ones
            keep &= before < self.top_p
        keep[0] = True
        return probabilities[keep], ids[keep]


def _mix(seed: int, position: int) -> int:
    """One 63-bit number from two, far apart for neighbours (the finaliser of splitmix64)."""
    x = (seed + (position + 1) * 0x9E3779B97F4A7C15) & (2**64 - 1)
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return (x ^ (x >> 31)) >> 1
