"""URLs in requests: only from hosts that the operator allows, and never from inside his network.

A name is looked up once, every address it has must be public, and the connection goes to an address that was
checked; a redirect is a new URL, checked like the first.
"""

import http.client
import ipaddress
import re
import socket
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from gemcut.errors import BadMedia
from gemcut.media.source import OpenUrl, download, shown
from gemcut.server.hosts import is_among

MOST_REDIRECTS = 3
LookUp = Callable[[str, int], Sequence[str]]  # a host and a port to the host's addresses


def addresses_of(host: str, port: int) -> Sequence[str]:
    """The addresses of a host.  Raises OSError for unknown ones."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def url_opener(allowed: Sequence[str], look_up: LookUp = addresses_of) -> OpenUrl:
    """What opens a request's URLs.

    allowed: names of hosts, as `is_among` reads them.
    """
    opener = urllib.request.OpenerDirector()
    for handler in (
        _Http(look_up),
        _Https(look_up),
        _Redirect(allowed),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)

    def open_url(url: str) -> bytes:
        check_url(url, allowed)
        return download(url, opener)

    return open_url


def check_url(url: str, allowed: Sequence[str]) -> None:
    """Raises BadMedia unless it is an http(s) URL of an allowed host."""
    if not re.match(r"https?://", url, re.IGNORECASE):
        raise BadMedia(f"{shown(url)} is neither a data: URL nor an http(s) URL; give one of them")
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    if not host:
        raise BadMedia(f"{shown(url)} names no host; give a whole URL")
    if not is_among(host, allowed):
        raise BadMedia(
            f"this server fetches nothing from {shown(host)}; send the file as a data: URL, or ask its "
            "operator to start it with --media-host"
        )


def _checked(host: str, port: int, look_up: LookUp) -> str:
    """An address of the host.  Raises BadMedia where any of them is not public."""
    try:
        found = look_up(host, port)
    except (OSError, UnicodeError):
        found = ()
    if not found:
        raise BadMedia(f"the host {shown(host)} is not known; give another URL")
    for text in found:
        address = ipaddress.ip_address(text.partition("%")[0])
        inner = getattr(address, "ipv4_mapped", None)
        if not (address if inner is None else inner).is_global or address.is_multicast:
            raise BadMedia(
                f"the host {shown(host)} has an address that is not public; nothing is fetched there"
            )
    return found[0]


class _Http(urllib.request.HTTPHandler):
    def __init__(self, look_up: LookUp) -> None:
        super().__init__()
        self._look_up = look_up

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_pinned(http.client.HTTPConnection, self._look_up), request)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, look_up: LookUp) -> None:
        super().__init__()
        self._look_up = look_up

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_pinned(http.client.HTTPSConnection, self._look_up), request)


def _pinned(kind: type[http.client.HTTPConnection], look_up: LookUp) -> Any:
    """What makes connections that go to an address which was checked; certificates are still the name's."""

    def make(host: str, **options: Any) -> http.client.HTTPConnection:
        connection = kind(host, **options)

        def connect(_: tuple[str, int], *rest: Any) -> socket.socket:
            address = _checked(connection.host, connection.port, look_up)
            return socket.create_connection((address, connection.port), *rest)

        connection._create_connection = connect  # type: ignore[attr-defined]  # http.client's own seam
        return connection

    return make


class _Redirect(urllib.request.HTTPRedirectHandler):
    max_redirections = MOST_REDIRECTS

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__()
        self._allowed = allowed

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str) -> Any:
        check_url(newurl, self._allowed)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
