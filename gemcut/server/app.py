"""All that a server can be asked, as one ASGI application."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gemcut.server import answer_schemas as gives
from gemcut.server.body import Receive, Scope, Send
from gemcut.server.chat import read_chat
from gemcut.server.chat_fields import ChatRequest
from gemcut.server.completion import read_completion
from gemcut.server.completion_fields import CompletionRequest
from gemcut.server.endpoint import Asked, Endpoint
from gemcut.server.fields import Fields
from gemcut.server.guard import Guard
from gemcut.server.info import Info
from gemcut.server.messages import CountTokens, read_messages_request
from gemcut.server.messages_fields import CountRequest, MessagesRequest
from gemcut.server.openapi import openapi_json
from gemcut.server.operations import OF_BODY, OF_MODEL, Operation
from gemcut.server.playground import playground_routes
from gemcut.server.refusal import Refusal
from gemcut.server.response import read_response
from gemcut.server.response_fields import ResponseRequest
from gemcut.server.serving import Serving
from gemcut.server.stored_routes import stored_operations
from gemcut.server.tokens import DetokenizeRequest, TokenizeRequest, Tokens
from gemcut.server.transcription import read_transcription
from gemcut.server.transcription_fields import TranscriptionRequest


def build_app(serving: Serving) -> Starlette:
    """The application; the page comes last, since it takes what nobody else does."""
    known = operations(serving)
    document = openapi_json(known)

    async def openapi(request: Request) -> Response:
        return JSONResponse(document)

    routes = [Route(op.path, op.handler, methods=[op.method]) for op in known]
    routes += [Route("/openapi.json", openapi), *_wrong_methods(known)]
    names = {route.endpoint: route.path_format for route in routes}
    middleware = [Middleware(Guard, serving=serving, routes=names)]
    if origins := list(serving.options.cors_origins):
        cors = Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=["x-request-id", "retry-after"],
        )
        middleware.insert(0, cors)
    app = Starlette(
        routes=[*routes, *playground_routes()],
        middleware=middleware,
        exception_handlers={HTTPException: _refuse},
    )
    app.router.redirect_slashes = False
    return app


def operations(serving: Serving) -> Sequence[Operation]:
    """Everything that a server can be asked."""
    return (*_answering(serving), *stored_operations(serving), *_counting(serving), *_telling(serving))


def _answering(serving: Serving) -> list[Operation]:
    """What the model answers."""

    def asks(
        path: str,
        summary: str,
        read: Callable[[Any, Serving], Asked[Any]],
        takes: type[Fields],
        schema: Mapping[str, Any],
    ) -> Operation:
        return Operation(
            method="POST",
            path=path,
            summary=summary,
            handler=Endpoint(serving, lambda given: read(given, serving), "application/json"),
            takes=takes,
            gives=schema,
            streams=True,
            errors=OF_MODEL,
        )

    transcribes = Operation(
        method="POST",
        path="/v1/audio/transcriptions",
        summary="Writes down what is said in a recording.",
        handler=Endpoint(serving, lambda given: read_transcription(given, serving), "multipart/form-data"),
        takes=TranscriptionRequest,
        kind="multipart/form-data",
        gives=gives.TRANSCRIPT,
        may_be_text=True,
        streams=True,
        errors=(*OF_MODEL, 403),
    )
    return [
        asks("/v1/chat/completions", "Answers a chat.", read_chat, ChatRequest, gives.CHAT),
        asks(
            "/v1/completions", "Continues raw prompts.", read_completion, CompletionRequest, gives.COMPLETION
        ),
        asks(
            "/v1/responses", "Answers, and keeps the answer.", read_response, ResponseRequest, gives.RESPONSE
        ),
        asks(
            "/v1/messages",
            "Answers a conversation in Anthropic's shape.",
            read_messages_request,
            MessagesRequest,
            gives.MESSAGE,
        ),
        transcribes,
    ]


def _counting(serving: Serving) -> list[Operation]:
    """What needs the tokenizer only."""
    tokens = Tokens(serving)

    def counts(
        path: str, summary: str, handler: Callable[..., Any], takes: type[Fields], schema: Mapping[str, Any]
    ) -> Operation:
        return Operation(
            method="POST",
            path=path,
            summary=summary,
            handler=handler,
            takes=takes,
            gives=schema,
            errors=(*OF_BODY, 404, 422),
        )

    return [
        counts(
            "/v1/messages/count_tokens",
            "How many tokens a conversation in Anthropic's shape has.",
            CountTokens(serving).count,
            CountRequest,
            gives.COUNTED,
        ),
        counts("/tokenize", "The ids of a text or chat.", tokens.tokenize, TokenizeRequest, gives.TOKENIZED),
        counts("/detokenize", "The text of ids.", tokens.detokenize, DetokenizeRequest, gives.DETOKENIZED),
    ]


def _telling(serving: Serving) -> list[Operation]:
    """What the server says of itself."""
    info = Info(serving)

    def tells(path: str, summary: str, handler: Callable[..., Any], schema: Any, *errors: int) -> Operation:
        return Operation(
            method="GET", path=path, summary=summary, handler=handler, gives=schema, errors=errors
        )

    return [
        tells("/v1/models", "All models.", info.models, gives.MODELS),
        tells("/v1/models/{model:path}", "One model.", info.model, gives.MODEL, 404),
        tells("/health", "Whether the engine is alive.", info.health, gives.HEALTH, 503),
        tells("/ready", "Whether requests should be sent here.", info.ready, gives.HEALTH, 503),
        tells("/version", "Which gemcut this is.", info.version, gives.VERSION),
        tells("/metrics", "Counts, for Prometheus.", info.metrics, None),
    ]


def _wrong_methods(known: Sequence[Operation]) -> list[Route]:
    """Routes that refuse what no route before them took: else the page would be asked for these paths."""
    methods: dict[str, list[str]] = {}
    for op in known:
        methods.setdefault(op.path, []).append(op.method)
    return [Route(path, _WrongMethod(", ".join(allowed))) for path, allowed in methods.items()]


class _WrongMethod:
    """Refuses every request for a path that there is.  allowed: the methods that it knows."""

    def __init__(self, allowed: str) -> None:
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> NoReturn:
        method, path = scope["method"], scope["path"]
        headers = {"allow": self._allowed}
        raise Refusal(405, f"{method} is not for {path}", code="wrong_method", headers=headers)


async def _refuse(request: Request, error: Exception) -> NoReturn:
    """Raises what Starlette has to say about paths and methods in our shape."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        raise Refusal(404, f"there is nothing at {request.url.path}", code="not_found")
    if error.status_code == 405:
        raise Refusal(
            405, f"{request.method} is not for {request.url.path}", code="wrong_method", headers=error.headers
        )
    raise Refusal(400, str(error.detail), code="bad_request")
