"""How much a model thinks: the words that APIs have for it, as a switch and a budget."""

from collections.abc import Mapping
from typing import Literal

from gemcut.server.refusal import Refusal

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
BUDGETS: Mapping[Effort | None, int | None] = {
    None: None,
    "none": None,
    "minimal": 256,
    "low": 1024,
    "medium": 4096,
    "high": 16384,
    "xhigh": None,
}  # tokens of a thought; None for any number


def thinking(
    effort: Effort | None, enabled: bool | None, budget: int | None, field: str = "reasoning_effort"
) -> tuple[bool, int | None]:
    """Whether the model thinks, and the most tokens of its thoughts; of two limits the smaller counts.

    effort: named `field` in the request.  enabled: the switch beside it.  A budget alone switches it on.
    Raises Refusal 400 where effort and switch contradict each other.
    """
    wanted = None if effort is None else effort != "none"
    if None not in (enabled, wanted) and enabled != wanted:
        asked, switched = "thoughts" if wanted else "none", "on" if enabled else "off"
        text = f"{field} asks for {asked} and thinking is switched {switched}; leave one of them out"
        raise Refusal(400, text, param=field, code="invalid_value")
    said = [each for each in (enabled, wanted) if each is not None]
    thinks = said[0] if said else budget is not None
    limits = [limit for limit in (budget, BUDGETS[effort]) if limit is not None]
    return thinks, min(limits) if thinks and limits else None
