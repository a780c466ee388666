"""The models that a server holds, under the names by which requests ask for them."""

from collections.abc import Sequence
from dataclasses import dataclass

from gemcut.api import Gemma
from gemcut.server.refusal import Refusal


@dataclass(frozen=True)
class Served:
    """One model.  names: how requests may call it, the one that answers carry first.  created: Unix time."""

    gemma: Gemma
    names: tuple[str, ...]
    created: int

    @property
    def name(self) -> str:
        """What answers call it."""
        return self.names[0]


class Models:
    """The models of a server, the first for requests that name none."""

    def __init__(self, served: Sequence[Served]) -> None:
        self.all = tuple(served)

    def find(self, name: str | None) -> Served:
        """The model of that name.  Raises Refusal 404."""
        if name is None:
            return self.all[0]
        for served in self.all:
            if name in served.names:
                return served
        known = ", ".join(served.name for served in self.all)
        raise Refusal(
            404, f"there is no model {name!r} here; there is {known}", param="model", code="model_not_found"
        )
