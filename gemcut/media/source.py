"""What a user hands over as an image, a sound or a video, to bytes.

A string that is no data: URL goes through one function, `open_url`, paths too: who serves others decides
there what they may reach.
"""

import base64
import binascii
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote_to_bytes

from gemcut.errors import BadMedia

OpenUrl = Callable[[str], bytes]  # a URL or a path to its bytes; raises BadMedia

MOST_BYTES = 256 * 1024**2  # of one image, sound or video
SILENCE_S = 30  # that a server may take for its next byte
DOWNLOAD_S = 600  # that a download may take in all
PIECE_BYTES = 1024**2
LONGEST_SHOWN = 80  # characters of a path or a URL in a message
DETAILS = ("auto", "low", "high")  # OpenAI's words; whoever prepares the image reads them
SOUND_FORMATS = ("wav", "mp3", "flac", "ogg", "opus", "aac", "m4a", "mp4", "webm", "aiff")


def open_url(url: str) -> bytes:
    """The bytes behind an http(s) URL, or of a local file.

    Raises BadMedia for what cannot be read or is larger than MOST_BYTES.
    """
    if re.match(r"https?://", url, re.IGNORECASE):
        return download(url, urllib.request.build_opener())
    if url.lower().startswith("file:"):
        raise BadMedia(f"{shown(url)} is a file: URL; give the path itself")
    if scheme := re.match(r"[a-z][a-z0-9+.-]*://", url, re.IGNORECASE):
        raise BadMedia(f"{shown(url)} begins with {scheme[0]}; give an http(s) URL, a data: URL or a path")
    if url == "":
        raise BadMedia("the path is empty; give a path or a URL")
    return read_file(Path(url))


def read_file(path: Path) -> bytes:
    """A file's bytes.  Raises BadMedia where it is no file, cannot be read, or is larger than MOST_BYTES."""
    try:
        if path.exists() and not path.is_file():
            raise BadMedia(
                f"{shown(path)} is {'a folder' if path.is_dir() else 'no plain file'}; give a file"
            )
        with path.open("rb") as file:
            _check_size(os.fstat(file.fileno()).st_size, shown(path))
            data = file.read(MOST_BYTES + 1)  # it may grow meanwhile
    except (OSError, ValueError) as problem:  # ValueError: a null character
        reason = problem.strerror if isinstance(problem, OSError) else str(problem)
        raise BadMedia(f"{shown(path)} cannot be read: {reason}; give a file that is there") from None
    _check_size(len(data), shown(path))
    return data


def file_name(source: object) -> str | None:
    """The path or URL of what media_bytes takes, for a message; None for data."""
    if isinstance(source, Mapping):
        source = source.get("url")
    named = isinstance(source, Path) or (isinstance(source, str) and source[:5].lower() != "data:")
    return shown(source) if named else None


def media_bytes(source: object, name: str, open_url: OpenUrl = open_url) -> bytes:
    """The file that `source` holds or names.

    source: a path, an http(s) or data: URL, bytes, or OpenAI's mappings {"url", "detail"} and
    {"data", "format"}.
    Raises BadMedia with `name` in the message.
    """
    try:
        data = _bytes_of(source, open_url)
    except BadMedia as problem:
        raise BadMedia(f"{name}: {problem}") from None
    if not data:
        raise BadMedia(f"{name} is empty; give a whole file")
    return data


def _bytes_of(source: object, open_url: OpenUrl) -> bytes:
    match source:
        case bytes():
            _check_size(len(source), "the data")
            return source
        case str():
            return _of_data_url(source) if source[:5].lower() == "data:" else open_url(source)
        case Path():
            return read_file(source)
        case Mapping():
            return _of_mapping(source, open_url)
    raise BadMedia(
        f"{type(source).__name__} holds no media; give a path, a URL, bytes, or a mapping with url or data"
    )


def _of_mapping(source: Mapping[object, object], open_url: OpenUrl) -> bytes:
    keys = {str(key) for key in source}
    if "url" in keys and keys <= {"url", "detail"}:
        url, detail = source["url"], source.get("detail", "auto")
        if detail not in DETAILS:
            raise BadMedia(f"the detail is {detail!r}; details are {', '.join(DETAILS)}")
        if not isinstance(url, str):
            raise BadMedia(f"the url is {type(url).__name__}; give a string")
        return _bytes_of(url, open_url)
    if keys == {"data", "format"}:
        data, kind = source["data"], source["format"]
        if kind not in SOUND_FORMATS:
            raise BadMedia(f"the format is {kind!r}; formats are {', '.join(SOUND_FORMATS)}")
        if not isinstance(data, str):
            raise BadMedia(f"the data is {type(data).__name__}; give a string in base64")
        return _of_base64(data.encode())
    raise BadMedia(
        f"the keys are {', '.join(sorted(keys)) or 'missing'}; give url (and detail), or data and format"
    )


def _of_data_url(url: str) -> bytes:
    header, comma, content = url.partition(",")
    if not comma:
        raise BadMedia(f"{shown(url)} has no comma; a data: URL reads data:image/png;base64,…")
    data = unquote_to_bytes(content)
    if header.lower().endswith(";base64"):
        return _of_base64(data)
    _check_size(len(data), "the data: URL")
    return data


def _of_base64(text: bytes) -> bytes:
    try:
        data = base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error as problem:
        raise BadMedia(f"the base64 is damaged ({problem}); encode the whole file") from None
    _check_size(len(data), "the data")
    return data


def download(url: str, opener: urllib.request.OpenerDirector) -> bytes:
    """The bytes behind an http(s) URL.  Raises BadMedia for every way in which a download fails."""
    place = shown(url)
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "gemcut"})
        with opener.open(request, timeout=SILENCE_S) as response:
            return _body(response, place)
    except urllib.error.HTTPError as answer:
        answer.close()
        raise BadMedia(
            f"{place} answers {answer.code} {answer.reason}; give a URL that can be read"
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as problem:  # ValueError: no such URL can be
        reason = getattr(problem, "reason", problem)
        why = " ".join(str(reason).split()) or type(problem).__name__
        raise BadMedia(f"{place} cannot be read ({why}); give a URL that can") from None


def _body(response: http.client.HTTPResponse, place: str) -> bytes:
    """A response's body, read in pieces so that neither its size nor its time is without an end."""
    promised = response.length
    if promised is not None:
        _check_size(promised, place)
    body, end = bytearray(), time.monotonic() + DOWNLOAD_S
    while piece := response.read1(PIECE_BYTES):
        body += piece
        _check_size(len(body), place)
        if time.monotonic() > end:
            raise BadMedia(f"{place} takes longer than {DOWNLOAD_S} s; download it first and give the path")
    if promised is not None and len(body) < promised:
        raise BadMedia(f"{place} ended after {len(body)} of {promised} bytes; try again")
    return bytes(body)


def _check_size(size: int, what: str) -> None:
    if size > MOST_BYTES:
        raise BadMedia(
            f"{what} has more than {MOST_BYTES // 1024**2} MB, the most that is read; "
            "make it smaller or cut it"
        )


def shown(text: object) -> str:
    """A path or URL for a message: on one line and not longer than LONGEST_SHOWN characters."""
    line = " ".join(str(text).split())
    part = LONGEST_SHOWN // 2  # a file's name stands at the end
    return line if len(line) <= LONGEST_SHOWN else f"{line[:part]}…{line[-part:]}"
