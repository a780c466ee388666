"""A server that says what a script has it say, in the form of OpenAI's streams, and serves the playground."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import gemcut

PLAYGROUND = Path(gemcut.__file__).parent / "server" / "playground"
USAGE = {
    "prompt_tokens": 1500,
    "completion_tokens": 12,
    "total_tokens": 1512,
    "prompt_tokens_details": {"cached_tokens": 1024},
}
HOLD = "hold"  # in a script: wait until the test lets it go on
CUT = "cut"  # in a script: the connection breaks, as when a server dies


def text(*pieces: str, finish: str = "stop") -> list[Any]:
    """A reply of these pieces of text."""
    return [*({"content": piece} for piece in pieces), {"finish": finish}]


def thought(*pieces: str) -> list[Any]:
    """Thoughts, before whatever follows, under both names as our server sends them."""
    return [{"reasoning": piece, "reasoning_content": piece} for piece in pieces]


def calls(*wanted: tuple[str, dict[str, Any]]) -> list[Any]:
    """A reply that calls tools, each in two pieces."""
    pieces: list[Any] = []
    for index, (name, arguments) in enumerate(wanted):
        whole = json.dumps(arguments)
        head = {"index": index, "id": f"call_{name}_{index}", "type": "function"}
        pieces.append({"tool_calls": [head | {"function": {"name": name, "arguments": whole[:3]}}]})
        pieces.append({"tool_calls": [{"index": index, "function": {"arguments": whole[3:]}}]})
    return [*pieces, {"finish": "tool_calls"}]


class FakeServer:
    """A server on a free port of this machine, in a thread of its own.

    script: the replies to come, each a list of deltas, HOLD and CUT, or a Response in place of a stream.
    bodies: the requests that came.  key: what it wants to be asked with, if anything.
    """

    def __init__(self) -> None:
        self.forget()
        app = Starlette(
            routes=[
                Route("/v1/models", self._models),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Mount("/", StaticFiles(directory=PLAYGROUND, html=True)),
            ]
        )
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", ws="none", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self) -> "FakeServer":
        self._thread.start()
        while not self._server.started:
            threading.Event().wait(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    def forget(self) -> None:
        """As new."""
        self.script: list[list[Any] | Response] = []
        self.bodies: list[dict[str, Any]] = []
        self.key: str | None = None
        self.models = ["nano", "e4b"]
        self.go_on = threading.Event()
        self.left = threading.Event()

    def _refused(self, request: Request) -> Response | None:
        if self.key is None or request.headers.get("authorization") == f"Bearer {self.key}":
            return None
        return JSONResponse({"error": {"message": "give an API key", "code": "bad_key"}}, 401)

    async def _models(self, request: Request) -> Response:
        data = [{"id": name, "object": "model"} for name in self.models]
        return self._refused(request) or JSONResponse({"object": "list", "data": data})

    async def _chat(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        self.bodies.append(await request.json())
        reply = self.script.pop(0)
        if isinstance(reply, Response):
            return reply
        return StreamingResponse(self._events(reply), media_type="text/event-stream")

    async def _events(self, reply: list[Any]) -> AsyncIterator[str]:
        try:
            yield ": a comment, as keep-alives are\n\n"
            for item in reply:
                if item == HOLD:
                    while not self.go_on.is_set():
                        await asyncio.sleep(0.01)
                    continue
                if item == CUT:
                    raise ConnectionError("as the script wants it")
                finish = item.get("finish")
                choice = {"index": 0, "delta": {} if finish else item, "finish_reason": finish}
                yield f"data: {json.dumps({'choices': [choice]})}\n\n"
            yield f"data: {json.dumps({'choices': [], 'usage': USAGE})}\n\n"
            yield "data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.left.set()
            raise
