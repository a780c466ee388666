"""Names of hosts in requests: which are meant by an operator's list, and which page of a browser asks.

A page of a stranger's can have its own name point to 127.0.0.1 and then read what a server there answers
(DNS rebinding); and without that it can send forms, whose answers it does not get to see. Both give
themselves away: the first by the name in `Host`, the second by `Sec-Fetch-Site` or `Origin`.
"""

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from gemcut.server.refusal import Refusal

LOOPBACK = ("localhost", "*.localhost", "127.0.0.1", "::1")  # names of this machine for itself


def is_among(host: str, names: Sequence[str]) -> bool:
    """Whether the names hold the host; "*.example.org" for all below example.org, "*" for all."""
    host, small = host.lower().rstrip("."), map(str.lower, names)
    return any(name in ("*", host) or (name.startswith("*.") and host.endswith(name[1:])) for name in small)


def is_loopback(host: str) -> bool:
    """Whether who listens at this address is reached from its own machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return is_among(host, LOOPBACK)


def names_allowed(listens_at: str, given: Sequence[str]) -> tuple[str, ...]:
    """The names by which a server may be asked; none where any name will do.

    listens_at: its address: where others reach it too, any name will do unless some are given.
    """
    if not given and not is_loopback(listens_at):
        return ()
    return (*LOOPBACK, listens_at, *given)


def check_host(headers: dict[bytes, bytes], allowed: Sequence[str]) -> None:
    """Raises Refusal 403 for a request under a name that is not allowed."""
    host = headers.get(b"host", b"").decode("latin-1")
    if not host or not allowed or is_among(_name(host), allowed):
        return
    name = _name(host)
    text = f"this server does not answer to the name {name!r}; start it with --allowed-host {name}"
    raise Refusal(403, text, code="wrong_host")


def check_page(headers: dict[bytes, bytes], origins: Sequence[str]) -> None:
    """Raises Refusal 403 where a browser sends this for a page that is neither ours nor of these origins."""
    origin = headers.get(b"origin", b"").decode("latin-1")
    site = headers.get(b"sec-fetch-site", b"").decode("latin-1")
    if site:
        is_ours = site in ("same-origin", "none")
    else:
        is_ours = not origin or origin.partition("://")[2] == headers.get(b"host", b"").decode("latin-1")
    if not (is_ours or "*" in origins or origin in origins):
        raise Refusal(
            403,
            f"pages of {origin or 'other hosts'} may not ask; start the server with --cors-origin",
            code="wrong_origin",
        )


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or host
    except ValueError:
        return host
