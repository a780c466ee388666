"""A server as a program: its socket, its signals, its end."""

import logging
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from gemcut.errors import BadOption
from gemcut.server.app import build_app
from gemcut.server.log import Log
from gemcut.server.serving import Serving

KEEP_ALIVE_S = 75  # longer than the proxies' own, so that it is they who close
BACKLOG = 2048


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
    config = uvicorn.Config(
        build_app(serving),
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=round(serving.options.drain_s),
    )
    for served in serving.models.all:
        served.gemma.occupancy()  # starts its engine: else the first request would, or a probe in the loop
    serving.log.write("listening", url=url_of(listening), models=[m.name for m in serving.models.all])
    try:
        _Server(config, serving).run(sockets=[listening])
    finally:
        serving.workers.shutdown(wait=False, cancel_futures=True)
        for served in serving.models.all:
            served.gemma.close()
        serving.log.write("stopped")


class _Server(uvicorn.Server):
    """uvicorn's server, which ends in peace: the program goes on behind `run`."""

    def __init__(self, config: uvicorn.Config, serving: Serving) -> None:
        super().__init__(config)
        self._serving = serving

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
