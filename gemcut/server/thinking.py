"""How much a model thinks: the words that APIs have for it, as a switch and a budget."""

from typing import Literal

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
BUDGETS: dict[Effort, int | None] = {
    "minimal": 256,
    "low": 1024,
    "medium": 4096,
    "high": 16384,
    "xhigh": None,
}  # tokens of a thought; None for any number


def thinking(effort: Effort | None, enabled: bool | None, budget: int | None) -> tuple[bool, int | None]:
    """Whether the model thinks, and the most tokens of its thoughts.

    enabled, budget: where they are given they count, not what the effort says.
    """
    if enabled is None:
        enabled = effort not in (None, "none") or (effort is None and budget is not None)
    if budget is None and effort not in (None, "none"):
        budget = BUDGETS[effort]
    return enabled, budget
