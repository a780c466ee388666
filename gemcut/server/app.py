"""All routes of a server, as one ASGI application."""

from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from gemcut.server.chat import read_chat
from gemcut.server.completion import read_completion
from gemcut.server.endpoint import Asked, Endpoint
from gemcut.server.guard import Guard
from gemcut.server.info import Info
from gemcut.server.messages import CountTokens, read_messages_request
from gemcut.server.playground import playground_routes
from gemcut.server.refusal import Refusal
from gemcut.server.response import read_response
from gemcut.server.serving import Serving
from gemcut.server.stored_routes import StoredRoutes
from gemcut.server.tokens import Tokens


def build_app(serving: Serving) -> Starlette:
    """The application."""
    middleware = [Middleware(Guard, serving=serving)]
    origins = list(serving.options.cors_origins)
    if origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=["x-request-id", "retry-after"],
        )
        middleware.insert(0, cors)
    app = Starlette(
        routes=routes(serving),
        middleware=middleware,
        exception_handlers={HTTPException: _refuse},
    )
    app.router.redirect_slashes = False
    return app


def routes(serving: Serving) -> list[BaseRoute]:
    """Every route; the page comes last, since it takes what nobody else does."""
    info, tokens = Info(serving), Tokens(serving)

    def asks(path: str, read: Callable[[Any, Serving], Asked]) -> Route:
        return Route(path, Endpoint(serving, lambda given: read(given, serving)), methods=["POST"])

    return [
        asks("/v1/chat/completions", read_chat),
        asks("/v1/completions", read_completion),
        asks("/v1/responses", read_response),
        *StoredRoutes(serving).routes(),
        asks("/v1/messages", read_messages_request),
        Route("/v1/messages/count_tokens", CountTokens(serving).count, methods=["POST"]),
        Route("/tokenize", tokens.tokenize, methods=["POST"]),
        Route("/detokenize", tokens.detokenize, methods=["POST"]),
        Route("/v1/models", info.models),
        Route("/v1/models/{model:path}", info.model),
        Route("/health", info.health),
        Route("/ready", info.ready),
        Route("/version", info.version),
        Route("/metrics", info.metrics),
        *playground_routes(),
    ]


async def _refuse(request: Request, error: Exception) -> Any:
    """Raises what Starlette has to say about paths and methods in our shape."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        raise Refusal(404, f"there is nothing at {request.url.path}", code="not_found")
    if error.status_code == 405:
        raise Refusal(
            405, f"{request.method} is not for {request.url.path}", code="wrong_method", headers=error.headers
        )
    raise Refusal(400, str(error.detail), code="bad_request")
