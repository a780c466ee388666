"""Everything a user may hand over as a medium, and what they hand over by mistake."""

import base64
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemcut.errors import BadMedia
from gemcut.media import source
from gemcut.media.source import media_bytes, open_url
from tests.media.makers import is_one_line_about, refusal_or

CONTENT = b"\x00some content, and more\xff"
ENCODED = base64.b64encode(CONTENT).decode()


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        match self.path:
            case "/whole" | "/long":
                self.answer(200, len(CONTENT))
            case "/cut":
                self.answer(200, len(CONTENT) + 5)
            case "/unsaid":
                self.answer(200, None)
            case "/huge":
                self.answer(200, 10**12)
            case "/elsewhere":
                self.send_response(302)
                self.send_header("Location", "/whole")
                self.end_headers()
            case "/file":
                self.send_response(302)
                self.send_header("Location", "file:///etc/passwd")
                self.end_headers()
            case "/nonsense":
                self.wfile.write(b"what?\r\n\r\n")
            case _:
                self.answer(404, len(CONTENT))

    def answer(self, code: int, length: int | None) -> None:
        self.send_response(code)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answers) as running:
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_every_kind_of_source(tmp_path: Path, server: str) -> None:
    path = tmp_path / "a file: with ä.bin"
    path.write_bytes(CONTENT)
    whole = f"{server}/whole"
    for given_ in (
        CONTENT,
        path,
        str(path),
        whole,
        whole.replace("http", "HTTP"),
        f"data:application/octet-stream;base64,{ENCODED}",
        f"DATA:;BASE64,{ENCODED[:7]}%0A{ENCODED[7:]}",
        "data:,%00some%20content,%20and%20more%FF",
        {"url": whole},
        {"url": str(path), "detail": "high"},
        {"url": f"data:;base64,{ENCODED}", "detail": "auto"},
        {"data": ENCODED, "format": "wav"},
    ):
        assert media_bytes(given_, "x") == CONTENT


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ("", "x: the path is empty"),
        (b"", "x is empty"),
        ("/no/such/file.png", "x: /no/such/file.png cannot be read: No such file or directory; give a file"),
        ("a\0b", "x: a\0b cannot be read: embedded null byte"),
        ("/tmp", "x: /tmp is a folder; give a file"),
        (os.devnull, f"x: {os.devnull} is no plain file"),
        ("z" * 9999, "x: " + "z" * 40 + "…" + "z" * 40 + " cannot be read: File name too long"),
        ("two\nlines", "x: two lines cannot be read"),
        ("file:///etc/hostname", "x: file:///etc/hostname is a file: URL; give the path itself"),
        ("ftp://host/a.png", "x: ftp://host/a.png begins with ftp://; give an http"),
        ("http://", "x: http:// cannot be read"),
        ("http://[", "x: http://. cannot be read"),
        ("http://127.0.0.1:1/a.png", "x: http://127.0.0.1:1/a.png cannot be read .*refused"),
        ("http://a b/", "x: http://a b/ cannot be read"),
        ("data:image/png;base64", "x: data:image/png;base64 has no comma"),
        ("data:;base64,####", "x: the base64 is damaged"),
        ("data:;base64,abc", "x: the base64 is damaged"),
        ("data:,", "x is empty"),
        ({}, "x: the keys are missing; give url"),
        ({"path": "a"}, "x: the keys are path; give url"),
        ({"url": "a", "size": 3}, "x: the keys are size, url; give url"),
        ({"data": "a"}, "x: the keys are data; give url"),
        ({1: 2}, "x: the keys are 1; give url"),
        ({"url": 3}, "x: the url is int; give a string"),
        ({"url": {"url": "a"}}, "x: the url is dict; give a string"),
        ({"url": "a", "detail": "best"}, "x: the detail is 'best'; details are auto, low, high"),
        ({"data": "a", "format": "doc"}, "x: the format is 'doc'; formats are wav, mp3"),
        ({"data": b"a", "format": "wav"}, "x: the data is bytes; give a string in base64"),
        ({"data": "ä", "format": "wav"}, "x: the base64 is damaged"),
        (None, "x: NoneType holds no media; give a path, a URL, bytes"),
        ([CONTENT], "x: list holds no media"),
    ],
)
def test_what_cannot_be_read_is_refused(given_: object, message: str) -> None:
    with pytest.raises(BadMedia, match=message.replace("://.", "://\\[")):
        media_bytes(given_, "x")


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "x").write_bytes(CONTENT)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(BadMedia, match="cannot be read: Permission denied"):
        media_bytes(tmp_path / "x", "x")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("/missing", "answers 404 Not Found; give a URL that can be read"),
        ("/cut", f"ended after {len(CONTENT)} of {len(CONTENT) + 5} bytes; try again"),
        ("/huge", "has more than 256 MB"),
        ("/file", "answers 302 .* give a URL that can be read"),
        ("/nonsense", "cannot be read"),
    ],
)
def test_a_bad_answer_is_refused(server: str, place: str, message: str) -> None:
    with pytest.raises(BadMedia, match=f"x: {server}{place} {message}"):
        media_bytes(server + place, "x")


def test_answers_that_are_unusual_and_right(server: str) -> None:
    assert open_url(server + "/unsaid") == open_url(server + "/elsewhere") == CONTENT


def test_nothing_larger_than_the_limit_is_read(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "MOST_BYTES", len(CONTENT) - 1)
    path = tmp_path / "x"
    path.write_bytes(CONTENT)
    text = {"data": ENCODED, "format": "wav"}
    for given_ in (CONTENT, path, f"{server}/long", f"{server}/unsaid", f"data:;base64,{ENCODED}", text):
        with pytest.raises(BadMedia, match="has more than 0 MB, the most that is read"):
            media_bytes(given_, "x")


def test_a_download_has_an_end(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "DOWNLOAD_S", -1)
    with pytest.raises(BadMedia, match="takes longer than -1 s; download it first"):
        media_bytes(f"{server}/whole", "x")


def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "SILENCE_S", 0.1)
    refused = pytest.raises(BadMedia, match=r"cannot be read \(timed out\)")
    with HTTPServer(("127.0.0.1", 0), Answers) as silent, refused:  # accepts, and never answers
        media_bytes(f"http://127.0.0.1:{silent.server_port}/", "x")


def test_paths_and_urls_go_through_the_opener(tmp_path: Path) -> None:
    """A server gives an opener that refuses; nothing a client writes may pass it by."""

    def refuse(url: str) -> bytes:
        raise BadMedia(f"{url} may not be opened; send the data")

    path = str(tmp_path / "x")
    Path(path).write_bytes(CONTENT)
    for given_ in (path, {"url": path}, "http://a/b", {"url": "file:///etc/passwd"}):
        with pytest.raises(BadMedia, match="x: .* may not be opened; send the data"):
            media_bytes(given_, "x", refuse)
    assert media_bytes({"url": f"data:;base64,{ENCODED}"}, "x", refuse) == CONTENT


ANYTHING = st.one_of(
    st.none(), st.integers(), st.binary(), st.text(), st.text().map("data:".__add__), st.lists(st.text())
)


@settings(max_examples=50, deadline=None)
@given(
    st.one_of(ANYTHING, st.dictionaries(st.sampled_from(["url", "detail", "data", "format", "x"]), ANYTHING))
)
def test_nothing_does_worse_than_be_refused(given_: object) -> None:
    match refusal_or(lambda: media_bytes(given_, "x", lambda url: url.encode(errors="replace"))):
        case BadMedia() as refusal:
            assert is_one_line_about("x", refusal)
        case data:
            assert isinstance(data, bytes)


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_no_path_does_worse_than_be_refused(path: str) -> None:
    refusal = refusal_or(lambda: open_url("/no/such/folder/" + path))
    assert isinstance(refusal, BadMedia)
    assert is_one_line_about("/no/such/folder", refusal)
