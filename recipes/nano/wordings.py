"""Ways to ask about what is seen or heard: some for training, others for held-out cases only."""

import random
from dataclasses import dataclass

from recipes.nano.example import Split
from recipes.nano.facts import typed


@dataclass(frozen=True)
class Wordings:
    """One question's forms; names in braces are filled in when it is asked."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]

    def ask(self, rng: random.Random, split: Split, **names: str) -> str:
        """The question in one of the split's forms, written as people type."""
        if split == "train":
            return typed(rng, rng.choice(self.train).format(**names))
        text = rng.choice(self.held_out).format(**names)
        return text if rng.random() < 0.6 else text.rstrip("?.").lower()
