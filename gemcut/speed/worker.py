"""The process of one side: `python -m gemcut.speed.worker`, which `side.Side` starts and asks.

A line of JSON on stdin says which side it is, each further line is an order; each is answered by a line.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

from gemcut.errors import GemcutError
from gemcut.speed.order import About, Order, Taken


class Measurable(Protocol):
    """Something that can be measured."""

    def take(self, order: Order) -> Taken:
        """Does it, and says how long it took."""

    def about(self) -> About:
        """What it is."""


def build(name: str, given: Mapping[str, Any]) -> Measurable:
    """The side of that name; each imports its own libraries only, so that its memory is its own."""
    if name == "gemcut":
        from gemcut.speed.ours import Ours

        return Ours(**given)
    if name == "transformers":
        from gemcut.speed.generate import Generate

        return Generate(**given)
    assert name == "llama.cpp", name
    from gemcut.speed.llama_bench import LlamaBench

    return LlamaBench(**given)


def main() -> None:
    """Builds the side, then answers orders until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not come between the answers

    def answer(said: Mapping[str, Any]) -> None:
        print(json.dumps(said), file=answers, flush=True)

    try:
        side = build(**json.loads(sys.stdin.readline()))
        answer({})
        for line in sys.stdin:
            taken = side.take(Order(**json.loads(line)))
            answer({"taken": asdict(taken), "about": asdict(side.about())})
    except GemcutError as error:
        answer({"error": str(error)})


if __name__ == "__main__":
    main()
