"""A server as a program: its socket, its signals, its end."""

import logging
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn

from gemcut.errors import BadOption
from gemcut.server.app import build_app
from gemcut.server.log import Log
from gemcut.server.serving import Serving

KEEP_ALIVE_S = 75  # without a request on a connection: longer than proxies wait, so that it is they who close
BACKLOG = 2048
SPARE_FILES = 4096  # connections beyond those that wait: at work, sent away, silent


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections; port 0 takes any that is free.  Raises BadOption."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadOption(f"{host} port {port} cannot be used: {reason}; choose another with --port") from None


def url_of(listening: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def run(serving: Serving, listening: socket.socket) -> None:
    """Serves until SIGTERM or SIGINT; then lets nobody in, waits for those who are, and returns."""
    logging.getLogger("uvicorn.error").addHandler(_ToLog(serving.log))
    _permit_files(SPARE_FILES + 2 * serving.options.most_waiting)
    server = Server(serving)
    for served in serving.models.all:
        served.gemma.occupancy()  # starts its engine: else the first request would, or a probe in the loop
    serving.log.write("listening", url=url_of(listening), models=[m.name for m in serving.models.all])
    try:
        server.run(sockets=[listening])
    finally:
        serving.workers.shutdown(wait=False, cancel_futures=True)
        for served in serving.models.all:
            served.gemma.close()
        serving.log.write("stopped")


def _permit_files(count: int) -> None:
    """Raises the usual limit of 1,024 open files, which connections are too, as far as this process may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class Server(uvicorn.Server):
    """uvicorn's server, which waits for nobody without end, and ends in peace: the program goes on."""

    def __init__(self, serving: Serving) -> None:
        config = uvicorn.Config(
            build_app(serving),
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nobody asks where clients are
            lifespan="off",
            ws="none",
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=round(serving.options.drain_s),
        )
        super().__init__(config)
        self._serving = serving
        self._idle: dict[Any, tuple[Any, float]] = {}  # connections: their last request, and since when

    async def on_tick(self, counter: int) -> bool:
        """Looks after the connections once a second; whether the server's end has come."""
        if counter % 10 == 0:
            self._hang_up()
        return await super().on_tick(counter)

    def _hang_up(self) -> None:
        """Ends connections that have been without a request for too long.

        uvicorn alone would wait for ever for the rest of a request's head, and for an answer to be read.
        """
        connections: set[Any] = self.server_state.connections
        known, self._idle, now = self._idle, {}, time.monotonic()
        for connection in connections:
            last = connection.cycle  # the latest request on it, and its answer
            if last is not None and not last.response_complete:
                continue
            before = known.get(connection)
            self._idle[connection] = (last, now) if before is None or before[0] is not last else before
        for connection, (_, since) in self._idle.items():
            if now - since > 2 * KEEP_ALIVE_S:
                connection.transport.abort()
            elif now - since > KEEP_ALIVE_S:
                connection.transport.close()  # once what was sent is read

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Takes the signals that end a program; a second one ends it at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Lets no new request in."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._serving.admission.is_draining = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Waits for the requests under way.  A signal's handler must not log: it may interrupt the log."""
        self._serving.log.write("draining", in_flight=self._serving.admission.in_flight)
        await super().shutdown(sockets)


class _ToLog(logging.Handler):
    """uvicorn's complaints as lines of our log."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.write("uvicorn", level=record.levelname, message=record.getMessage())
