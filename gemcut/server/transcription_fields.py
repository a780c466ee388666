"""The request of /v1/audio/transcriptions: a form, whose fields are all text but the file."""

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from gemcut.server.fields import Fields, Refused
from gemcut.server.languages import LANGUAGES
from gemcut.server.refusal import Refusal

Format = Literal["json", "text", "srt", "verbose_json", "vtt"]
FLAGS = {"true": True, "false": False}


def _number(given: Any) -> Any:
    """A number that a form has as text; what is none stays as it is, and is refused."""
    try:
        value = float(given)
    except (TypeError, ValueError):
        return given
    return value if math.isfinite(value) else given


def _flag(given: Any) -> Any:
    return FLAGS.get(given.lower(), given) if isinstance(given, str) else given


class TranscriptionRequest(Fields):
    """A recording to be transcribed.

    language: its ISO 639-1 code.  prompt: text that came before, or that shows names and style.
    """

    file: bytes
    model: str | None = None
    language: str | None = None
    prompt: str | None = None
    response_format: Format = "json"
    stream: Annotated[bool, BeforeValidator(_flag)] = False
    temperature: Annotated[float, BeforeValidator(_number), Field(ge=0, le=1)] = 0
    granularities: Annotated[list[Literal["segment"]] | None, Field(alias="timestamp_granularities[]")] = None
    refused = {
        "chunking_strategy": Refused("long recordings are cut in their pauses", ("auto",)),
        "include[]": Refused("tokens of windows that overlap have no one probability"),
        "keywords[]": Refused("write them into prompt"),
        "languages[]": Refused("give one, as language"),
        "known_speaker_names[]": Refused("Gemma 4 does not tell speakers apart"),
        "known_speaker_references[]": Refused("Gemma 4 does not tell speakers apart"),
    }

    @property
    def language_name(self) -> str | None:
        """What prompts call the language.  Raises Refusal for a code that there is not."""
        if self.language is None:
            return None
        name = LANGUAGES.get(self.language.lower())
        if name is None:
            text = f"language is {self.language!r}; give an ISO 639-1 code such as en, de or ja"
            raise Refusal(400, text, param="language", code="invalid_value")
        return name

    def check(self) -> None:
        """Raises Refusal for options that contradict each other."""
        if self.stream and self.response_format != "json":
            text = f"response_format is {self.response_format} and a stream is events; leave one out"
            raise Refusal(400, text, param="response_format", code="invalid_value")
        if self.granularities is not None and self.response_format != "verbose_json":
            text = "timestamp_granularities[] needs response_format verbose_json"
            raise Refusal(400, text, param="timestamp_granularities[]", code="invalid_value")
