'''Reading lines from a terminal: editing, a history that lasts, several lines between """.'''

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import create_output

_FENCE = '"""'


def history_file() -> Path:
    """Where the history is kept: $XDG_STATE_HOME/gemcut/history, by default below ~/.local/state."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "gemcut" / "history"


def open_history() -> History:
    """The history of earlier conversations; one that is forgotten where the file cannot be written."""
    path = history_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


class LineEditor:
    """A prompt on stderr with line editing, history, and completion of the commands' names."""

    def __init__(self, commands: Sequence[str]) -> None:
        keys = KeyBindings()

        @keys.add("escape", "enter")
        def _new_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        self._session: PromptSession[str] = PromptSession(
            history=open_history(),
            completer=WordCompleter(list(commands), sentence=True),
            complete_while_typing=False,
            key_bindings=keys,
            output=create_output(sys.stderr),
        )

    def read(self, label: str) -> str:
        """What the user typed after the label; lines between two `\"\"\"` are one text.

        Raises EOFError at Ctrl-D and KeyboardInterrupt at Ctrl-C.
        """
        line = self._session.prompt(label)
        if not line.lstrip().startswith(_FENCE):
            return line
        lines = [line.lstrip().removeprefix(_FENCE)]
        while not lines[-1].rstrip().endswith(_FENCE):
            lines.append(self._session.prompt("... "))
        lines[-1] = lines[-1].rstrip().removesuffix(_FENCE)
        return "\n".join(lines).strip("\n")
