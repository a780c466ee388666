"""What a server can be asked, with what goes in and comes out: routes and /openapi.json are made of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gemcut.server.body import Kind
from gemcut.server.fields import Fields

Schema = Mapping[str, Any]
OF_BODY = (400, 408, 413, 415, 429)  # what may be wrong with any body
OF_MODEL = (*OF_BODY, 404, 422, 503)  # and with what the model is to answer


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One thing to ask.

    handler: what Starlette takes as an endpoint.  takes: the body's model.  kind: of the body.
    gives: the schema of the answer; None for plain text.  may_be_text: whether it is plain text for some.
    streams: whether the same may come as events.  errors: statuses beside 200 and 401.
    query: the schema of each parameter of the query.
    """

    method: str
    path: str
    summary: str
    handler: Callable[..., Any]
    gives: Schema | None
    takes: type[Fields] | None = None
    kind: Kind = "application/json"
    may_be_text: bool = False
    streams: bool = False
    errors: tuple[int, ...] = ()
    query: Mapping[str, Schema] | None = None
