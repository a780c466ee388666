"""Around every request: who may ask, its id, what went wrong in the API's own shape, log and counts."""

import hmac
import secrets
import time
import traceback
from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp

from gemcut.errors import GemcutError
from gemcut.server.body import Disconnected, Message, Receive, Scope, Send, headers_of
from gemcut.server.hosts import check_host
from gemcut.server.refusal import Refusal, Style, refusal_of
from gemcut.server.serving import Serving
from gemcut.server.sse import to_json

PROTECTED = ("/v1/", "/tokenize", "/detokenize", "/metrics")  # everything else is for everybody
GONE = 499  # of the log only: the client went before the answer's end


class Guard:
    """The outermost of our layers.

    routes: the path of each handler, as it was declared: what counts are kept by, since anybody may make up
    other paths.
    """

    def __init__(self, app: ASGIApp, serving: Serving, routes: Mapping[Any, str]) -> None:
        self._app = app
        self._serving = serving
        self._routes = routes
        self._keys = [key.encode() for key in serving.options.api_keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, and answers for what is raised."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.monotonic()
        request_id = f"req_{secrets.token_hex(12)}"
        scope["facts"] = facts = {}
        sent = _Sent(send, request_id)
        try:
            check_host(headers_of(scope), self._serving.options.allowed_hosts)
            if self._keys and scope["path"].startswith(PROTECTED):
                check_key(scope, self._keys)
            await self._app(scope, receive, sent)
        except Disconnected:
            sent.status = GONE
        except (Refusal, GemcutError) as error:
            refusal = error if isinstance(error, Refusal) else refusal_of(error)
            facts["error"] = refusal.code
            await sent.refuse(refusal, style_of(scope), request_id)
        except Exception as error:
            trace = "".join(traceback.format_exception(error))
            self._serving.log.write("fault", request_id=request_id, path=scope["path"], trace=trace)
            refusal = Refusal(500, "the server met a fault of its own; its log has it", code="internal_error")
            await sent.refuse(refusal, style_of(scope), request_id)
        self._note(scope, sent.status, time.monotonic() - start, {"request_id": request_id, **facts})

    def _note(self, scope: Scope, status: int, seconds: float, facts: dict[str, Any]) -> None:
        route = self._routes.get(scope.get("endpoint"), "other")
        self._serving.metrics.request(route, status, seconds)
        if route not in ("/health", "/ready", "/metrics"):  # these come every few seconds
            self._serving.log.write(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                seconds=round(seconds, 4),
                **facts,
            )


class _Sent:
    """What was sent of an answer, which gets the request's name on the way."""

    def __init__(self, send: Send, request_id: str) -> None:
        self.status = 0
        self.is_over = False
        self._send = send
        self._head = [(b"x-request-id", request_id.encode()), (b"request-id", request_id.encode())]

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self._head]
        else:
            self.is_over = not message.get("more_body", False)
        await self._send(message)

    async def refuse(self, refusal: Refusal, style: Style, request_id: str) -> None:
        """Sends a refusal, unless an answer has begun: that can only break off."""
        if self.status:
            if not self.is_over:
                await self({"type": "http.response.body", "body": b""})
            return
        body = to_json(refusal.body(style, request_id)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [(name.encode(), value.encode()) for name, value in refusal.headers.items()]
        await self({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


def style_of(scope: Scope) -> Style:
    """In whose shape errors of this request are told."""
    return "anthropic" if scope["path"].startswith("/v1/messages") else "openai"


def check_key(scope: Scope, keys: list[bytes]) -> None:
    """Raises Refusal 401 unless one of the keys is given; how long that takes tells nothing about them."""
    headers = headers_of(scope)
    scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"bearer":
        given = headers.get(b"x-api-key", b"")  # Anthropic's clients
    fits = [hmac.compare_digest(given.strip(), key) for key in keys]
    if not any(fits):
        problem = "is wrong" if given else "is missing"
        raise Refusal(
            401,
            f"the API key {problem}; send it as Authorization: Bearer KEY, or as x-api-key",
            code="invalid_api_key",
            headers={"www-authenticate": "Bearer"},
        )
