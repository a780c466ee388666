from pathlib import Path

from starlette.applications import Starlette
from starlette.testclient import TestClient

from gemcut.server.playground import HEADERS, playground_routes


def test_the_page_and_its_parts_are_served_and_asked_for_anew() -> None:
    client = TestClient(Starlette(routes=playground_routes()))
    for path, kind in (
        ("/", "text/html"),
        ("/main.js", "text/javascript"),
        ("/style/base.css", "text/css"),
        ("/icon.svg", "image/svg+xml"),
        ("/vendor/dompurify/purify.es.mjs", "javascript"),
    ):
        response = client.get(path)
        assert response.status_code == 200
        assert kind in response.headers["content-type"]
        assert HEADERS.items() <= response.headers.items()
    again = client.get("/main.js", headers={"if-none-match": client.get("/main.js").headers["etag"]})
    assert again.status_code == 304


def test_there_is_no_way_out_of_its_folder() -> None:
    client = TestClient(Starlette(routes=playground_routes()))
    for path in ("/../app.py", "/%2e%2e/app.py", "/vendor/..%2f..%2fapp.py", "//etc/passwd"):
        assert client.get(path).status_code == 404


def test_without_the_folder_there_is_no_page(tmp_path: Path) -> None:
    assert playground_routes(tmp_path) == ()
