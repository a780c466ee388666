"""What a server says about itself: models, health, version, counts."""

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gemcut.server.models import Served
from gemcut.server.refusal import Refusal
from gemcut.server.serving import Serving


class Info:
    """The handlers of these routes."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def models(self, request: Request) -> Response:
        """All models."""
        shown = [model_json(served) for served in self._serving.models.all]
        last = shown[-1]["id"]
        return JSONResponse(
            {"object": "list", "data": shown, "has_more": False, "first_id": shown[0]["id"], "last_id": last}
        )

    async def model(self, request: Request) -> Response:
        """One model."""
        return JSONResponse(model_json(self._serving.models.find(request.path_params["model"])))

    async def health(self, request: Request) -> Response:
        """Whether the engine is alive."""
        if any(served.gemma.occupancy().failed for served in self._serving.models.all):
            raise Refusal(503, "the engine has stopped; restart the server", code="engine_failed")
        return JSONResponse({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """Whether requests should be sent here."""
        if self._serving.admission.is_draining:
            raise Refusal(503, "the server is shutting down", code="shutting_down")
        return await self.health(request)

    async def version(self, request: Request) -> Response:
        """Which gemcut this is."""
        return JSONResponse({"version": version("gemcut")})

    async def metrics(self, request: Request) -> Response:
        """Counts, for Prometheus."""
        return Response(self._serving.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def model_json(served: Served) -> dict[str, Any]:
    """A model as OpenAI's and Anthropic's lists have it, with what else a client may want to know."""
    config = served.gemma.config
    takes = ["text", *(["image", "video"] if config.vision else []), *(["audio"] if config.audio else [])]
    return {
        "id": served.name,
        "object": "model",
        "type": "model",
        "display_name": served.name,
        "created": served.created,
        "created_at": datetime.fromtimestamp(served.created, UTC).isoformat(),
        "owned_by": "google",
        "max_model_len": served.gemma.memory.context,
        "input_modalities": takes,
        "aliases": list(served.names[1:]),
    }
