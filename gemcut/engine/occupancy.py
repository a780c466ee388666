"""How full an engine is: what an operator watches."""

from dataclasses import dataclass

from gemcut.engine.scheduler import Scheduler


@dataclass(frozen=True, kw_only=True)
class Occupancy:
    """Pages of both kinds that requests hold, and sequences.

    Pages that are only kept for requests to come are not used.  failed: whether the engine has stopped.
    """

    full_pages: int
    full_pages_used: int
    sliding_pages: int
    sliding_pages_used: int
    running: int
    waiting: int
    failed: bool


def occupancy_of(scheduler: Scheduler, failed: bool) -> Occupancy:
    """How full it is at this moment; any thread may ask."""
    full, sliding = scheduler.pages.full, scheduler.pages.sliding
    return Occupancy(
        full_pages=full.num_pages - 1,
        full_pages_used=full.num_pages - 1 - full.available,
        sliding_pages=sliding.num_pages - 1,
        sliding_pages_used=sliding.num_pages - 1 - sliding.available,
        running=len(scheduler.running),
        waiting=len(scheduler.waiting),
        failed=failed,
    )
