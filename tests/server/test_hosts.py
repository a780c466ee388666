"""By which names a server may be asked, and for which pages of browsers."""

import pytest

from gemcut import Gemma
from gemcut.server.hosts import LOOPBACK, check_page, is_among, is_loopback, names_allowed
from gemcut.server.refusal import Refusal
from tests.server.servers import client_of


@pytest.mark.parametrize(
    ("host", "names", "fits"),
    [
        ("a.example", ("a.example",), True),
        ("A.Example.", ("a.example",), True),
        ("a.example", ("A.Example",), True),
        ("b.a.example", ("*.A.example",), True),
        ("b.a.example", ("*.a.example",), True),
        ("a.example", ("*.a.example",), False),
        ("evila.example", ("*.a.example",), False),
        ("anything", ("*",), True),
        ("anything", (), False),
    ],
)
def test_names_and_what_is_below_them(host: str, names: tuple[str, ...], fits: bool) -> None:
    assert is_among(host, names) is fits


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "a.localhost"])
def test_who_listens_at_loopback_answers_to_its_machines_own_names_only(host: str) -> None:
    assert is_loopback(host)
    assert set(LOOPBACK) | {host} == set(names_allowed(host, ()))


def test_who_listens_for_others_answers_to_any_name_unless_told_which() -> None:
    assert names_allowed("0.0.0.0", ()) == ()
    assert is_among("a.example", names_allowed("0.0.0.0", ["A.example"]))
    assert is_among("localhost", names_allowed("0.0.0.0", ["A.example"]))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("app.localhost", 200),
        ("chat.example:80", 200),
        ("evil.example:8000", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("evil.example#localhost", 403),
        ("[::1", 403),
    ],
)
def test_a_name_that_points_here_by_itself_is_refused(tiny: Gemma, host: str, status: int) -> None:
    """DNS rebinding: the page of evil.example asks evil.example, which by now is 127.0.0.1."""
    client = client_of(tiny, "tiny", allowed_hosts=names_allowed("127.0.0.1", ["chat.example"]))
    for path in ("/v1/models", "/health"):
        answer = client.get(path, headers={"host": host})
        assert answer.status_code == status
        assert status == 200 or answer.json()["error"]["code"] == "wrong_host"


@pytest.mark.parametrize(
    ("headers", "allowed", "passes"),
    [
        ({}, (), True),
        ({"origin": "http://h:8000", "host": "h:8000"}, (), True),
        ({"origin": "https://proxied.example", "host": "h", "sec-fetch-site": "same-origin"}, (), True),
        ({"origin": "https://evil.example", "host": "h"}, (), False),
        ({"origin": "https://evil.example", "host": "h", "sec-fetch-site": "cross-site"}, (), False),
        ({"origin": "null", "host": "h"}, (), False),
        ({"origin": "https://a.example", "sec-fetch-site": "cross-site"}, ("https://a.example",), True),
        ({"origin": "https://a.example", "host": "h"}, ("*",), True),
    ],
)  # fmt: skip
def test_forms_come_from_our_own_pages_only(
    headers: dict[str, str], allowed: tuple[str, ...], passes: bool
) -> None:
    raw = {name.encode(): value.encode() for name, value in headers.items()}
    if passes:
        check_page(raw, allowed)
        return
    with pytest.raises(Refusal, match="may not ask"):
        check_page(raw, allowed)
