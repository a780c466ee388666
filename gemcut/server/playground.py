"""The page at `/`: static files, where they are in the package."""

from collections.abc import Sequence
from pathlib import Path

from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

FOLDER = Path(__file__).parent / "playground"


def playground_routes(folder: Path = FOLDER) -> Sequence[BaseRoute]:
    """The page and what belongs to it; nothing where the folder is not there."""
    if not (folder / "index.html").is_file():
        return ()
    return (Mount("/", StaticFiles(directory=folder, html=True), name="playground"),)
