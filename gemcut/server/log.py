"""The server's log: a line of JSON an event; what people wrote is in it only where the operator says so."""

import time
from typing import Any, TextIO

from gemcut.server.sse import to_json


class Log:
    """Writes lines to a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, event: str, **facts: Any) -> None:
        """One line: when, what, and the facts that are known."""
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        known = {name: value for name, value in facts.items() if value is not None}
        self._stream.write(to_json({"time": stamp, "event": event, **known}) + "\n")
        self._stream.flush()
