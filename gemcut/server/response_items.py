"""Items of the Responses API: what goes in, and how it becomes messages in OpenAI's chat shape."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from gemcut.server.fields import Fields, Refused
from gemcut.server.message_fields import SoundData
from gemcut.server.refusal import Refusal

Status = Literal["in_progress", "completed", "incomplete"]


class InputText(Fields):
    """What is said."""

    type: Literal["input_text", "text"]
    text: str


class InputImage(Fields):
    """What is shown."""

    type: Literal["input_image"]
    image_url: str
    detail: Literal["auto", "low", "high"] | None = None
    refused = {"file_id": Refused("this server keeps no files; send the image as a data: URL")}


class InputAudio(Fields):
    """What is played."""

    type: Literal["input_audio"]
    input_audio: SoundData


class OutputText(Fields):
    """What the model said."""

    type: Literal["output_text"]
    text: str
    logprobs: list[dict[str, Any]] | None = None  # as they were given; they change nothing
    refused = {"annotations": Refused("there are none here", ([],))}


class ThoughtText(Fields):
    """What the model thought."""

    type: Literal["reasoning_text", "summary_text"]
    text: str


Part = Annotated[InputText | InputImage | InputAudio | OutputText, Field(discriminator="type")]
Shown = Annotated[InputText | InputImage, Field(discriminator="type")]


class Said(Fields):
    """A message."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Part]
    id: str | None = None
    status: Status | None = None
    refused = {"phase": Refused("messages have no phases", ("commentary", "final_answer"))}


class Called(Fields):
    """A call that the model made."""

    type: Literal["function_call"]
    call_id: str
    name: Annotated[str, Field(min_length=1)]
    arguments: str
    id: str | None = None
    status: Status | None = None
    refused = {"namespace": Refused("tools have no namespaces")}


class CallOutput(Fields):
    """What came of a call."""

    type: Literal["function_call_output"]
    call_id: str
    output: str | list[Shown]
    id: str | None = None
    status: Status | None = None


class Thought(Fields):
    """What the model thought before it said or called what follows."""

    type: Literal["reasoning"]
    id: str | None = None
    summary: list[ThoughtText] | None = None
    content: list[ThoughtText] | None = None
    status: Status | None = None
    refused = {"encrypted_content": Refused("thoughts are given as they are", ("",))}


class Reference(Fields):
    """An item of a stored response, by its id."""

    type: Literal["item_reference"]
    id: str


def _kind(item: Any) -> str:
    kind = item.get("type", "message") if isinstance(item, dict) else getattr(item, "type", "message")
    return str(kind)


Item = Annotated[
    Annotated[Said, Tag("message")]
    | Annotated[Called, Tag("function_call")]
    | Annotated[CallOutput, Tag("function_call_output")]
    | Annotated[Thought, Tag("reasoning")]
    | Annotated[Reference, Tag("item_reference")],
    Discriminator(_kind),
]


def chat_messages(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items as messages: what the model thought, said and called in one go is one message."""
    messages: list[dict[str, Any]] = []
    said: dict[str, Any] | None = None  # the assistant's message that may go on
    for item in items:
        kind = _kind(item)
        if kind in ("reasoning", "function_call") or (kind == "message" and item["role"] == "assistant"):
            if said is None or (kind == "reasoning" and (said["content"] or "tool_calls" in said)):
                said = {"role": "assistant", "content": ""}
                messages.append(said)
            _add(said, item)
            continue
        said = None
        if kind == "message":
            messages.append({"role": item["role"], "content": _content(item["content"])})
        else:
            output = _content(item["output"])
            messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": output})
    return messages


def _add(said: dict[str, Any], item: dict[str, Any]) -> None:
    """One item more of what the assistant thought, said and called."""
    match _kind(item):
        case "reasoning":
            parts = item.get("content") or item.get("summary") or ()
            said["reasoning"] = said.get("reasoning", "") + "".join(part["text"] for part in parts)
        case "function_call":
            function = {"name": item["name"], "arguments": item["arguments"]}
            call = {"id": item["call_id"], "type": "function", "function": function}
            said.setdefault("tool_calls", []).append(call)
        case _:
            said["content"] += _said_text(item["content"])


def _said_text(content: Any) -> str:
    """What the assistant said.  Raises Refusal for what else it may seem to have shown or played."""
    if isinstance(content, str):
        return content
    if wrong := [part["type"] for part in content if "text" not in part]:
        raise Refusal(400, f"an assistant's message has {wrong[0]}; it can hold text only", param="input")
    return "".join(part["text"] for part in content)


def _content(content: Any) -> Any:
    if isinstance(content, str):
        return content
    return [_part(part) for part in content]


def _part(part: dict[str, Any]) -> dict[str, Any]:
    match part["type"]:
        case "input_image":
            place = {"url": part["image_url"]}
            if part.get("detail") is not None:
                place["detail"] = part["detail"]
            return {"type": "image_url", "image_url": place}
        case "input_audio":
            return {"type": "input_audio", "input_audio": part["input_audio"]}
    return {"type": "text", "text": part["text"]}
