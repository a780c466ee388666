"""URLs in requests lead only where the operator allows it, and never into his own network."""

import http.server
import threading
from collections.abc import Iterator

import pytest

from gemcut.errors import BadMedia
from gemcut.server import fetch
from gemcut.server.fetch import check_url, url_opener

PUBLIC = "93.184.216.34"
PRIVATE = ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
           "::1", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "fe80::1%eth0"]  # fmt: skip


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://a.example/x.png", ["a.example"]),
        ("https://A.example./x.png", ["a.example"]),
        ("http://b.a.example/x", ["*.a.example"]),
        ("http://anything.example/", ["*"]),
    ],
)
def test_allowed_hosts_pass(url: str, allowed: list[str]) -> None:
    check_url(url, allowed)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://a.example/x.png", []),
        ("https://a.example.evil/x.png", ["a.example"]),
        ("https://evila.example/x.png", ["*.a.example"]),
        ("https://a.example@evil.example/", ["a.example"]),
        ("https://evil.example/#a.example", ["a.example"]),
        ("https:///x", ["*"]),
        ("http://[::1/x", ["*"]),
        ("/etc/passwd", ["*"]),
        ("file:///etc/passwd", ["*"]),
        ("ftp://a.example/x", ["*"]),
    ],
)
def test_all_others_do_not(url: str, allowed: list[str]) -> None:
    with pytest.raises(BadMedia):
        check_url(url, allowed)


@pytest.mark.parametrize("address", PRIVATE)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_that_leads_inside_is_not_followed(address: str, scheme: str) -> None:
    open_url = url_opener(["*"], look_up=lambda host, port: [PUBLIC, address])
    with pytest.raises(BadMedia, match="not public"):
        open_url(f"{scheme}://rebound.example/x.png")


def test_an_address_in_place_of_a_name_is_checked_too() -> None:
    with pytest.raises(BadMedia, match="not public"):
        url_opener(["*"])("http://127.0.0.1:1/x.png")


def test_a_name_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(BadMedia, match="not known"):
        url_opener(["*"], look_up=lambda host, port: [])("http://unknown.example/")


class Pictures(http.server.BaseHTTPRequestHandler):
    """Gives a picture, or sends elsewhere."""

    def do_GET(self) -> None:
        where = {"/away": "http://other.example/x", "/round": "/round", "/here": "/x"}.get(self.path)
        self.send_response(200 if where is None else 302)
        if where is not None:
            self.send_header("location", where)
        self.send_header("content-length", "7" if where is None else "0")
        self.end_headers()
        if where is None:
            self.wfile.write(b"picture")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server on loopback, which for once counts as public."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(fetch, "_checked", lambda host, port, look_up: look_up(host, port)[0])
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_what_is_allowed_is_fetched_and_redirects_are_checked(port: int) -> None:
    open_url = url_opener(["good.example"], look_up=lambda host, port: ["127.0.0.1"])
    assert open_url(f"http://good.example:{port}/x") == b"picture"
    assert open_url(f"http://good.example:{port}/here") == b"picture"
    with pytest.raises(BadMedia, match="fetches nothing from other.example"):
        open_url(f"http://good.example:{port}/away")
    with pytest.raises(BadMedia):
        open_url(f"http://good.example:{port}/round")
