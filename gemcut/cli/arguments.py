"""What `gemcut run`'s words mean: which model is asked, and what it is asked."""

import re
import sys
from pathlib import Path

from gemcut.checkpoint.find import HUB_ID
from gemcut.errors import BadOption
from gemcut.family import FAMILIES

EMBEDDED = "nano"
_SIZE = re.compile(r"e?\d+b(-a\d+b)?|gemma\S*", re.IGNORECASE)  # "27b" is a size, if one that does not exist
_PATH_STARTS = ("/", "./", "../", "~")


def names_model(word: str) -> bool:
    """Whether a lone word is a model rather than a prompt.

    A model is: a size, or what looks like one ("27b"); a folder that exists, or a .gguf file; a hub id
    (org/name); a path that begins with / ./ ../ or ~. A text with blanks that is no folder is a prompt.
    """
    if word == "":
        return False
    if word in {row.name for row in FAMILIES} or _is_folder(word):
        return True
    if re.search(r"\s", word):
        return False
    looks = _SIZE.fullmatch(word) or HUB_ID.fullmatch(word)
    return looks is not None or word.endswith(".gguf") or word.startswith(_PATH_STARTS)


def _is_folder(word: str) -> bool:
    try:
        return Path(word).is_dir()
    except OSError:  # too long for a name, as prompts often are
        return False


def model_and_prompt(first: str | None, second: str | None) -> tuple[str, str | None]:
    """The model's source and the prompt, None where there is none, from `[MODEL] [PROMPT]`."""
    if first is None:
        return EMBEDDED, None
    if second is not None or names_model(first):
        return first, second
    return EMBEDDED, first


def piped_text() -> str | None:
    """What was piped or redirected into the program, without blanks around it; None where there is nothing.

    A terminal is not read. Raises BadOption where the bytes are not UTF-8.
    """
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        return None
    data = sys.stdin.buffer.read()
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise BadOption(
            f"standard input is not UTF-8 text: byte {data[error.start]:#04x} at {error.start}; pipe text"
        ) from None
    return text.strip() or None


def with_piped(prompt: str | None, piped: str | None) -> str | None:
    """The prompt with the piped text behind it, a blank line between; None where there is neither."""
    parts = [part for part in (prompt, piped) if part is not None]
    return "\n\n".join(parts) if parts else None
