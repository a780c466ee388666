"""What a run needs before it can answer: the model, and the tools of a file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from gemcut.api import Gemma
from gemcut.checkpoint.find import find_checkpoint, find_drafter
from gemcut.cli.screen import Screen
from gemcut.engine.options import EngineOptions
from gemcut.errors import BadConstraint, BadTools
from gemcut.load import Dtype
from gemcut.prompt.json_schema import read_schema
from gemcut.prompt.tools import read_tools


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How a model is loaded, in `Gemma.load`'s words; a drafter may have to be downloaded."""

    device: str | None
    dtype: str | None
    offline: bool
    drafter: str | None = None
    engine: EngineOptions | None = None


def open_model(source: str, how: Loading, screen: Screen) -> Gemma:
    """The model, downloaded first where it must be, its drafter too; the screen says what is waited for.

    Raises UnknownModel, CheckpointError, BadOption.
    """
    folder = find_checkpoint(source, offline=how.offline, progress=screen.note)
    beside = None
    if how.drafter is not None:
        beside = find_drafter(how.drafter, offline=how.offline, progress=screen.note)
    with screen.waiting(f"loading {source} …"):
        gemma = Gemma.load(
            str(folder.resolve()),
            device=how.device,
            dtype=cast("Dtype | None", how.dtype),
            offline=how.offline,
            engine=how.engine,
            drafter=None if beside is None else str(beside.resolve()),
        )
    for note in gemma.notes:
        screen.note(note)
    return gemma


def read_tool_file(path: Path) -> tuple[dict[str, Any], ...]:
    """The tools that a JSON file declares; raises BadTools where it is something else."""
    try:
        declared = json.loads(path.read_bytes())
    except ValueError as error:
        raise BadTools(f"{path} is not JSON ({error}); write a list of tools in it") from None
    return read_tools(declared)


def read_schema_file(path: Path) -> dict[str, Any]:
    """The JSON schema in a file; raises BadConstraint where it is something else or cannot be enforced."""
    try:
        schema = json.loads(path.read_bytes())
    except ValueError as error:
        raise BadConstraint(f"{path} is not JSON ({error}); write a JSON schema in it") from None
    read_schema(schema)
    return cast("dict[str, Any]", schema)
