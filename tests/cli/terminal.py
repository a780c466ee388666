"""A terminal of its own for a program under test: what it types there and what it sees."""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

# The program's terminal must be its controlling one, or Ctrl-C would send it no signal.
# And a shell tells what it runs in the background to ignore that signal: these tests perhaps, and the program
# would inherit it.
TAKE_TERMINAL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Terminal:
    """Runs Python with these arguments in a pseudo-terminal; kills it at the end of a `with`."""

    def __init__(self, arguments: Sequence[str], home: Path) -> None:
        self._side, other = pty.openpty()
        self.seen = ""
        self._unread = 0  # where in `seen` the next `wait_for` begins
        environment = {
            **os.environ,
            "TERM": "xterm",
            "XDG_STATE_HOME": str(home),
            "PROMPT_TOOLKIT_NO_CPR": "1",  # nobody answers where the cursor is
            "PYTHONUNBUFFERED": "1",
        }
        environment.pop("NO_COLOR", None)
        self._process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *arguments],
            stdin=other,
            stdout=other,
            stderr=other,
            env=environment,
            cwd=Path(__file__).resolve().parents[2],
            start_new_session=True,
        )
        os.close(other)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._side)

    def type(self, keys: str) -> None:
        """Presses keys; "\\r" is Enter, "\\x03" Ctrl-C, "\\x04" Ctrl-D."""
        os.write(self._side, keys.encode())

    def wait_for(self, text: str, timeout_s: float = 90) -> str:
        """Returns what was shown from the last wait to `text`; fails, with all that was seen, without it."""
        end = time.monotonic() + timeout_s
        while (place := self.seen.find(text, self._unread)) < 0:
            assert time.monotonic() < end, f"{text!r} did not come; seen: {self.seen!r}"
            if not self._read(0.1) and self._process.poll() is not None and not self._read(0.1):
                raise AssertionError(f"the program ended before {text!r}; seen: {self.seen!r}")
        shown = self.seen[self._unread : place]
        self._unread = place + len(text)
        return shown

    def wait_for_more(self, number: int, timeout_s: float = 90) -> None:
        """Returns once so many more characters were shown."""
        end = time.monotonic() + timeout_s
        while len(self.seen) < self._unread + number:
            assert time.monotonic() < end, f"no more came; seen: {self.seen!r}"
            self._read(0.1)

    def wait_for_end(self, timeout_s: float = 90) -> int:
        """Returns the program's exit code."""
        end = time.monotonic() + timeout_s
        while self._process.poll() is None:
            assert time.monotonic() < end, f"the program goes on; seen: {self.seen!r}"
            self._read(0.1)
        while self._read(0.1):
            pass
        return self._process.returncode

    def _read(self, timeout_s: float) -> bool:
        if not select.select([self._side], [], [], timeout_s)[0]:
            return False
        try:
            data = os.read(self._side, 65_536)
        except OSError:  # Linux says so when the other side is closed
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)
