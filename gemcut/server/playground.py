"""The page at `/`: static files, where they are in the package."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent / "playground"
HEADERS = {
    "cache-control": "no-cache",  # asked for anew each time, so that no page is of two versions
    "x-content-type-options": "nosniff",
    "content-security-policy": "frame-ancestors 'none'",  # the rest of its policy is in index.html
}


def playground_routes(folder: Path = FOLDER) -> Sequence[BaseRoute]:
    """The page and what belongs to it; nothing where the folder is not there."""
    if not (folder / "index.html").is_file():
        return ()
    return (Mount("/", Page(directory=folder, html=True), name="playground"),)


class Page(StaticFiles):
    """Files of a page that no other page may show."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file.  What else is asked for here is an API that this server lacks, so it is not found."""
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(404)
        return await super().get_response(path, scope)

    def file_response(self, *given: Any, **named: Any) -> Response:
        """A file, or that the browser's own copy is still right."""
        response = super().file_response(*given, **named)
        response.headers.update(HEADERS)
        return response
