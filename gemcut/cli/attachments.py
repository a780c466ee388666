"""Files that go with a question: images, sound, videos."""

import os
from collections.abc import Sequence
from typing import Any

from gemcut.errors import BadOption
from gemcut.media.source import shown

Part = dict[str, Any]  # of a message's content, in the shape that `read_messages` knows


def attachment(kind: str, source: str) -> Part:
    """A part of a message for a file or a URL.  Raises BadOption for a file that is not there."""
    if "://" in source or source.startswith("data:"):
        return {"type": kind, kind: source}
    path = os.path.expanduser(source)  # unlike pathlib's, these refuse no name, however odd
    if os.path.isdir(path):
        raise BadOption(f"{shown(source)} is a folder; name {kind} files one by one")
    if not os.path.isfile(path):
        raise BadOption(f"there is no {kind} file {shown(source)}; name one that is there, or a URL")
    return {"type": kind, kind: path}


def attachments(
    images: Sequence[str] | None, audio: Sequence[str] | None, videos: Sequence[str] | None
) -> list[Part]:
    """Parts for what the command line named.  Raises BadOption for a file that is not there."""
    named = {"image": images, "video": videos, "audio": audio}
    return [attachment(kind, source) for kind, sources in named.items() for source in sources or ()]


def question(text: str, parts: Sequence[Part]) -> dict[str, Any]:
    """The user's message: pictures before the text, sound behind it, as Gemma 4's model card asks."""
    if not parts:
        return {"role": "user", "content": text}
    heard = [part for part in parts if part["type"] == "audio"]
    seen = [part for part in parts if part["type"] != "audio"]
    return {"role": "user", "content": [*seen, {"type": "text", "text": text}, *heard]}
