"""Conversations in files: what /save writes and /load reads."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from gemcut.errors import BadMessages, BadOption
from gemcut.prompt.messages import read_messages


class Transcript(BaseModel):
    """A conversation: the model it was held with, the system prompt, and the messages in OpenAI's shape."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    system: str | None
    messages: list[dict[str, Any]]


def save_transcript(transcript: Transcript, path: Path) -> None:
    """Writes the file; raises BadOption where it cannot be written."""
    try:
        path.write_text(transcript.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadOption(f"cannot write {path}: {error.strerror}; name a file in a folder of yours") from None


def load_transcript(path: Path) -> Transcript:
    """The conversation in the file.

    Raises BadOption where the file cannot be read, BadMessages where it holds something else.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadOption(f"cannot read {path}: {error.strerror}; name a file that /save wrote") from None
    try:
        transcript = Transcript.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise BadMessages(
            f"{path} holds no conversation ({place + ': ' if place else ''}{first['msg']}); "
            'expected {"model": …, "system": …, "messages": […]}, as /save writes it'
        ) from None
    if transcript.messages:
        read_messages(transcript.messages)
    return transcript
