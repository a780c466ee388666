"""The messages of a chat request, as OpenAI's API has them, and the tools beside them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from gemcut.server.fields import Fields, Refused
from gemcut.server.refusal import Refusal

NO_NAME = {"name": Refused("Gemma's chat format has no names for who speaks; put the name into the text")}


class TextPart(Fields):
    """A stretch of text."""

    type: Literal["text"]
    text: str


class ImageUrl(Fields):
    """Where an image is, and in how much detail it is looked at: at most so many soft tokens."""

    url: str
    detail: Literal["auto", "low", "high"] | None = None
    max_soft_tokens: Literal[70, 140, 280, 560, 1120] | None = None


class ImagePart(Fields):
    """An image: a data: URL, or http(s) from hosts that the operator allows."""

    type: Literal["image_url"]
    image_url: ImageUrl


class SoundData(Fields):
    """A recording in base64."""

    data: str
    format: Literal["wav", "mp3", "flac", "ogg", "opus", "aac", "m4a", "mp4", "webm", "aiff"]


class SoundPart(Fields):
    """A recording."""

    type: Literal["input_audio"]
    input_audio: SoundData


class MediaUrl(Fields):
    """Where a recording or a video is."""

    url: str


class SoundUrlPart(Fields):
    """A recording behind a URL."""

    type: Literal["audio_url"]
    audio_url: MediaUrl


class VideoPart(Fields):
    """A video."""

    type: Literal["video_url"]
    video_url: MediaUrl


Part = Annotated[TextPart | ImagePart | SoundPart | SoundUrlPart | VideoPart, Field(discriminator="type")]
Texts = Annotated[list[TextPart], Field(min_length=1)]
Parts = Annotated[list[Part], Field(min_length=1)]


class SystemMessage(Fields):
    """What the model is to be and do."""

    role: Literal["system", "developer"]
    content: str | Texts
    refused = NO_NAME


class UserMessage(Fields):
    """What a person says and shows."""

    role: Literal["user"]
    content: str | Parts
    refused = NO_NAME


class CalledFunction(Fields):
    """A function's name, and its arguments as JSON text."""

    name: Annotated[str, Field(min_length=1)]
    arguments: str


class Call(Fields):
    """A call that the model made."""

    id: str | None = None
    type: Literal["function"] = "function"
    function: CalledFunction
    index: int | None = None  # streams have it, and clients keep it


class AssistantMessage(Fields):
    """What the model said before; `reasoning` and `reasoning_content` are the same under two names."""

    role: Literal["assistant"]
    content: str | Texts | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[Call] | None = None
    refused = NO_NAME | {
        "refusal": Refused("refusals are text here", ("",)),
        "annotations": Refused("there are none here", ([],)),
        "audio": Refused("the model does not speak"),
        "function_call": Refused("this form is outdated; use tool_calls"),
    }


class ToolMessage(Fields):
    """A tool's result: text, and what it shows."""

    role: Literal["tool"]
    content: str | Parts
    tool_call_id: str | None = None
    name: str | None = None


ChatMessage = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")
]


class FunctionSchema(Fields):
    """A function that the model may call."""

    name: Annotated[str, Field(min_length=1)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    response: dict[str, Any] | None = None
    strict: bool | None = None


class ChatTool(Fields):
    """A tool: a function."""

    type: Literal["function"]
    function: FunctionSchema


def conversation(messages: list[Any]) -> list[dict[str, Any]]:
    """The messages as `gemcut.prompt.messages` reads them."""
    return [_message(message.model_dump(exclude_none=True)) for message in messages]


def _message(given: dict[str, Any]) -> dict[str, Any]:
    content = given.get("content", "")
    if isinstance(content, list):
        content = [_part(part) for part in content]
    return given | {"content": content}


def _part(given: dict[str, Any]) -> dict[str, Any]:
    """An image's own budget stands beside its place."""
    image = given.get("image_url")
    if image is None or "max_soft_tokens" not in image:
        return given
    if image.get("detail", "auto") != "auto":
        text = "an image has both detail and max_soft_tokens, which say the same; leave one of them out"
        raise Refusal(400, text, param="messages")
    place = {key: value for key, value in image.items() if key != "max_soft_tokens"}
    return given | {"image_url": place, "tokens": image["max_soft_tokens"]}


def num_media(messages: list[Mapping[str, Any]]) -> int:
    """How many images, recordings and videos there are."""
    contents = [message["content"] for message in messages]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return sum(part["type"] != "text" for part in parts)
