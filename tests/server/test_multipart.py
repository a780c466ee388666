"""Forms are read as clients write them, and what is none is refused."""

from contextlib import suppress
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemcut.server.multipart import MOST_PARTS, read_form
from gemcut.server.refusal import Refusal

KIND = "multipart/form-data; boundary=b"


def sent(fields: dict[str, Any], files: dict[str, Any]) -> tuple[bytes, str]:
    """A form as httpx2 writes it, and its content-type."""
    request = httpx2.Request("POST", "http://x", data=fields, files=files)
    return request.read(), request.headers["content-type"]


@given(
    st.dictionaries(st.text("abc_[", min_size=1), st.text(), max_size=3),
    st.binary(),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00"), min_size=1),
)
def test_what_a_client_sends_comes_out(fields: dict[str, str], data: bytes, filename: str) -> None:
    assert read_form(*sent(fields, {"file": (filename, data)})) == {**fields, "file": data}


def test_lists_are_lists_even_of_one() -> None:
    form = read_form(*sent({"include[]": ["a"], "other[]": ["b", "c"]}, {"file": b"x"}))
    assert form == {"include[]": ["a"], "other[]": ["b", "c"], "file": b"x"}


def test_lines_and_boundaries_within_a_file_are_the_files_own() -> None:
    data = b"\r\n--\r\n\r\n--a\r\n" * 3 + b"\r\n"
    body = b'--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n' + data + b"\r\n--b--\r\n"
    assert read_form(body, KIND) == {"f": data}


FIELD = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'


@pytest.mark.parametrize(
    ("body", "kind", "told"),
    [
        (FIELD + b"--b--", "multipart/form-data", "names no boundary"),
        (b"", KIND, "breaks off"),
        (b"hello", KIND, "breaks off"),
        (FIELD, KIND, "breaks off"),
        (FIELD + b"--b", KIND, "breaks off"),
        (FIELD * 2 + b"--b--", KIND, "a is given twice"),
        (b"--b\r\n\r\n1\r\n--b--", KIND, "has no header"),
        (b"--b\r\nContent-Type: text/plain\r\n\r\n1\r\n--b--", KIND, "has no name"),
        (FIELD.replace(b"form-data", b"attachment") + b"--b--", KIND, "has no name"),
        (FIELD.replace(b"1", b"\xff") + b"--b--", KIND, "a is no UTF-8 text"),
        (
            FIELD.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n") + b"--b--",
            KIND,
            "a is encoded",
        ),
        (FIELD * (MOST_PARTS + 1) + b"--b--", KIND, "more than 256 parts"),
        (b"--b\r\n" + b"A: b\r\n" * 9999 + b"\r\n1\r\n--b--", KIND, "has a header of 59992 bytes"),
    ],
)
def test_what_is_no_form_is_refused(body: bytes, kind: str, told: str) -> None:
    with pytest.raises(Refusal, match=told) as refused:
        read_form(body, kind)
    assert refused.value.status == 400


@given(st.lists(st.sampled_from([b"--b", b"\r\n", b"--", b"a", b":", b'name="x"', FIELD]), max_size=12))
def test_whatever_comes_is_read_or_refused(pieces: list[bytes]) -> None:
    with suppress(Refusal):
        read_form(b"".join(pieces), KIND)
