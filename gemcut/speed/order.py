"""What a side is asked to do, and how long it took: plain data that goes between processes as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from gemcut.errors import BadOption


@dataclass(frozen=True, kw_only=True)
class Shape:
    """So many prompts of one length that are read together, and tokens that are made together after them.

    new_tokens: after each prompt, beside the first, which reading the prompt gives.
    Raises BadOption for numbers below 1.
    """

    prompt_tokens: int
    batch: int
    new_tokens: int

    def __post_init__(self) -> None:
        given = {"--prompt": self.prompt_tokens, "--batch": self.batch, "--tokens": self.new_tokens}
        for option, value in given.items():
            if value < 1:
                raise BadOption(f"{option} is {value}; it must be at least 1")

    def most_tokens(self, step_tokens: int) -> int:
        """Tokens of the longest sequence, in an engine that reads at most so many a step.

        Until the last prompt is read, replies to the first ones go on, a token a step; as replies take no
        more than half of a step, there are at most twice as many steps as it would take without them.
        """
        steps = 2 + 2 * self.batch * self.prompt_tokens // step_tokens if self.batch > 1 else 0
        return self.prompt_tokens + 1 + self.new_tokens + steps

    def order(self, ids: Sequence[int], seed: int) -> "Order":
        """Prompts like no others, made of these ids."""
        chance = Random(seed)
        prompts = [chance.choices(ids, k=self.prompt_tokens) for _ in range(self.batch)]
        return Order(prompts=prompts, new_tokens=self.new_tokens)


@dataclass(frozen=True, kw_only=True)
class Order:
    """The ids of each prompt, all of one length, and how many tokens to make after each beside the first."""

    prompts: list[list[int]]
    new_tokens: int

    @property
    def shape(self) -> Shape:
        """How large it is."""
        return Shape(prompt_tokens=len(self.prompts[0]), batch=len(self.prompts), new_tokens=self.new_tokens)


@dataclass(frozen=True, kw_only=True)
class Taken:
    """How long an order took.

    prefill_s: until each prompt had its first token.  step_s: of each later step, a token for every prompt.
    """

    prefill_s: float
    step_s: float


@dataclass(frozen=True, kw_only=True)
class About:
    """What a side is once it has done an order.

    title: its name with its version.  peak_bytes: the most memory that was resident so far, pages of mapped
    files too (VmHWM).
    """

    title: str
    peak_bytes: int
