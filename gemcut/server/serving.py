"""What all endpoints of a server share."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from starlette.requests import Request

from gemcut.media.source import OpenUrl
from gemcut.prompt.media import MediaOptions
from gemcut.server.admission import Admission
from gemcut.server.body import Bodies
from gemcut.server.fetch import url_opener
from gemcut.server.fields import read_json
from gemcut.server.log import Log
from gemcut.server.metrics import Metrics
from gemcut.server.models import Models
from gemcut.server.options import ServerOptions
from gemcut.server.running import Bell
from gemcut.server.store import Store

Result = TypeVar("Result")
WORKERS = 32  # threads that read requests, media and what URLs name; tokens need none


@dataclass(frozen=True)
class Serving:
    """The parts of a server.  open_url: opens the URLs that requests name."""

    models: Models
    options: ServerOptions
    admission: Admission
    metrics: Metrics
    log: Log
    workers: ThreadPoolExecutor
    open_url: OpenUrl
    store: Store
    bodies: Bodies
    bells: "WeakKeyDictionary[asyncio.AbstractEventLoop, Bell]"  # one in a server, several in tests

    @classmethod
    def of(cls, models: Models, options: ServerOptions, log: Log) -> "Serving":
        """The parts that go with these options."""
        most = options.most_in_flight
        if most is None:
            most = sum(2 * served.gemma.limits.max_running for served in models.all)
        admission = Admission(most, options.most_waiting)
        return cls(
            models=models,
            options=options,
            admission=admission,
            metrics=Metrics(admission, models.all),
            log=log,
            workers=ThreadPoolExecutor(WORKERS, "gemcut-server"),
            open_url=url_opener(options.media_hosts),
            bodies=Bodies(options),
            store=Store(options.most_stored_bytes),
            bells=WeakKeyDictionary(),
        )

    def media(self, image_tokens: int | None = None) -> MediaOptions:
        """How the media of requests are read.  image_tokens: of images that do not say so themselves."""
        return MediaOptions(image_tokens=image_tokens, open_url=self.open_url)

    async def in_worker(self, work: Callable[[], Result]) -> Result:
        """What the work gives, done in a worker's thread: large bodies would hold up all streams."""
        return await asyncio.get_running_loop().run_in_executor(self.workers, work)

    async def of_json(self, request: Request, work: Callable[[Any], Result]) -> Result:
        """What the work gives for the JSON that a request holds."""
        async with self.bodies.read(request.scope, request.receive) as body:
            return await self.in_worker(lambda: work(read_json(body)))

    def bell(self) -> Bell:
        """The bell of the loop that is running."""
        loop = asyncio.get_running_loop()
        return self.bells.setdefault(loop, Bell(loop))
