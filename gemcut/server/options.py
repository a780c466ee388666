"""What the operator of a server decides."""

from dataclasses import dataclass, fields

from gemcut.errors import BadOption

MB = 2**20


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Who may ask, for how much, and for how long.

    api_keys: one of them must come with each request; none lets everybody in.
    allowed_hosts: names by which requests may call this server ("*.example.org" for all below one); none lets
    any name pass.
    cors_origins: pages of which other hosts may ask from a browser; "*" for all.
    media_hosts: from which http(s) URLs of images, sound and video are fetched, "*.example.org" for all below
    one; never from private addresses.
    most_body_bytes: of a request.  most_held_bytes: of the bodies of all requests under way.
    most_media: images, sounds and videos of a request.  most_samples: replies to one request.
    most_reply_tokens: of each; None for what the context holds.
    most_in_flight: requests at work; None for twice what the engine runs at once.  most_waiting: those beyond
    that wait; more are sent away with 429.
    request_s, body_s: how long a request may take, and the arrival of its body.
    ping_s: after so long a silence a stream gets a comment, so that nobody between takes it for dead.
    drain_s: how long requests under way are waited for at the end.
    most_stored_bytes: of responses and conversations that clients may come back to; the oldest go.
    log_prompts: whether bodies of requests are logged.

    Raises BadOption for limits that let nothing through.
    """

    api_keys: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    media_hosts: tuple[str, ...] = ()
    most_body_bytes: int = 64 * MB
    most_held_bytes: int = 2048 * MB
    most_media: int = 64
    most_samples: int = 128
    most_reply_tokens: int | None = None
    most_in_flight: int | None = None
    most_waiting: int = 1024
    request_s: float = 1800
    body_s: float = 60
    ping_s: float = 15
    drain_s: float = 60
    most_stored_bytes: int = 256 * MB
    log_prompts: bool = False

    def __post_init__(self) -> None:
        if not all(self.api_keys):
            raise BadOption("an API key is empty; leave it out to let everybody in")
        for field in fields(self):
            value = getattr(self, field.name)
            least = (
                0 if field.name in ("most_waiting", "most_media", "most_stored_bytes", "drain_s") else 1e-9
            )
            if isinstance(value, int | float) and not isinstance(value, bool) and value < least:
                raise BadOption(
                    f"{field.name} is {value}; it must be {'0 or more' if least == 0 else 'above 0'}"
                )
