"""Messages: what people and clients hand over, checked and frozen.

A conversation is a string (one user message), or a list of dicts in OpenAI's shape or of `Message`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn, TypeAlias, get_args

from gemcut.errors import BadMessages, EmptyPrompt
from gemcut.prompt.plain_json import plain_json

Role = Literal["system", "developer", "user", "assistant", "tool"]
MediaKind = Literal["image", "audio", "video"]


@dataclass(frozen=True)
class MediaPart:
    """An image, audio or video within a message.

    source: what the client gave: a URL, a path, data, a mapping as OpenAI has it; None where it named none.
    tokens: the most soft tokens that an image takes; None where it does not say.
    """

    kind: MediaKind
    source: Any
    tokens: int | None = None


@dataclass(frozen=True)
class ToolCall:
    """A function that the model wants called.

    id: ties the response to it; None where nobody gave one.
    """

    name: str
    arguments: Mapping[str, Any]
    id: str | None = None


Content: TypeAlias = str | tuple[str | MediaPart, ...] | Mapping[str, Any]


@dataclass(frozen=True)
class Message:
    """One message.

    content: text, or parts in order (a str is a text part), or, of a tool message only, a mapping.
    name: the function's, of a tool message whose call has no id.
    reasoning: an assistant's thoughts, without the marks of the channel.
    """

    role: Role
    content: Content = ""
    name: str | None = None
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


Conversation: TypeAlias = str | Sequence[Mapping[str, Any] | Message]

MOST_CALLS = 1024  # of one message: each response is looked for among all that wait
ROLES: tuple[Role, ...] = get_args(Role)
KEYS: dict[Role, tuple[str, ...]] = {
    "system": ("role", "content"),
    "developer": ("role", "content"),
    "user": ("role", "content"),
    "assistant": ("role", "content", "reasoning", "reasoning_content", "tool_calls"),
    "tool": ("role", "content", "name", "tool_call_id"),
}
# Clients send the replies they got back with these in them, empty.
EMPTY_KEYS = ("refusal", "annotations", "audio", "function_call")
PART_KINDS: dict[str, MediaKind] = {
    "image": "image",
    "image_url": "image",
    "audio": "audio",
    "audio_url": "audio",
    "input_audio": "audio",
    "video": "video",
    "video_url": "video",
}


def read_messages(conversation: Conversation) -> tuple[Message, ...]:
    """The conversation's messages, checked: roles, keys, types, and a call for each tool response.

    Raises EmptyPrompt for no messages; BadMessages, naming the message by its index, for everything else.
    """
    if isinstance(conversation, str):
        return (Message("user", conversation),)
    if isinstance(conversation, Mapping | bytes) or not isinstance(conversation, Sequence):
        raise BadMessages(f"messages must be a string or a list of messages, not {_kind(conversation)}")
    messages = tuple(_read_message(f"message {i}", message) for i, message in enumerate(conversation))
    if not messages:
        raise EmptyPrompt(
            "there are no messages; give at least one, such as {'role': 'user', 'content': 'Hello'}"
        )
    pair_responses(messages)
    return messages


def with_media(
    conversation: Conversation, images: Sequence[Any], audio: Sequence[Any], videos: Sequence[Any]
) -> Conversation:
    """The conversation with media in its last user's message: pictures before the text, sound behind it.

    That is the order that Gemma 4's model card asks for.
    Raises BadMessages where no user says anything.
    """
    if not (images or audio or videos):
        return conversation
    messages = list(read_messages(conversation))
    asked = max((i for i, message in enumerate(messages) if message.role == "user"), default=None)
    if asked is None:
        raise BadMessages("images, audio and videos belong to a user's message, and there is none; add one")
    content = messages[asked].content
    seen = [*(MediaPart("image", source) for source in images), *(MediaPart("video", v) for v in videos)]
    said = (content,) if isinstance(content, str) else tuple(content)
    heard = [MediaPart("audio", source) for source in audio]
    messages[asked] = replace(messages[asked], content=(*seen, *said, *heard))
    return messages


def check_answerable(messages: Sequence[Message]) -> None:
    """Nothing, if the model can answer next: a user or the system spoke last, or all calls have responses.

    An assistant's text is not continued: to have it continued, complete the raw text instead.
    Raises EmptyPrompt where the last message is blank, BadMessages where it is the assistant's own or a call
    still lacks its response.
    """
    last, where = messages[-1], f"message {len(messages) - 1}"
    if last.role == "assistant" and not last.tool_calls:
        _fail(where, "is the last and the assistant's own: there is nothing to answer; add a user message")
    if open_calls := _open_calls(messages):
        names = ", ".join(repr(call.name) for call in open_calls)
        _fail(
            where, f"is the last and leaves calls without a response ({names}); add a tool message for each"
        )
    parts = (last.content,) if isinstance(last.content, str) else last.content
    if last.role != "tool" and all(isinstance(part, str) and not part.strip() for part in parts):
        raise EmptyPrompt(f"{where} is the last and empty; write something for the model to answer")


def pair_responses(messages: Sequence[Message]) -> dict[int, tuple[int, int]]:
    """For each tool message's index: the index of the caller's message, and which of its calls is answered.

    A response is tied to its call by id, else by name, else by order.
    Raises BadMessages for a response without a call, and for calls that a later message leaves unanswered.
    """
    pairs: dict[int, tuple[int, int]] = {}
    caller = -1
    waiting: dict[int, ToolCall] = {}
    for index, message in enumerate(messages):
        if message.role == "tool":
            number = _answered(f"message {index}", message, waiting)
            pairs[index] = (caller, number)
            del waiting[number]
            continue
        if waiting:
            names = ", ".join(repr(call.name) for call in waiting.values())
            _fail(
                f"message {caller}",
                f"has calls without a response ({names}); a tool message for each must follow",
            )
        caller, waiting = index, dict(enumerate(message.tool_calls))
    return pairs


def _open_calls(messages: Sequence[Message]) -> list[ToolCall]:
    """The calls of the last message that makes any turn, tool messages aside, which have no response."""
    caller = max((i for i, message in enumerate(messages) if message.role != "tool"), default=0)
    answered = [number for asker, number in pair_responses(messages).values() if asker == caller]
    return [call for number, call in enumerate(messages[caller].tool_calls) if number not in answered]


def _answered(where: str, message: Message, waiting: Mapping[int, ToolCall]) -> int:
    """The number of the waiting call that a tool message answers."""
    for number, call in waiting.items():
        both_have_ids = message.tool_call_id is not None and call.id is not None
        if both_have_ids and call.id == message.tool_call_id:
            return number
        if not both_have_ids and message.name in (None, call.name):
            return number
    known = ", ".join(f"{call.name!r} (id {call.id!r})" for call in waiting.values())
    raise BadMessages(
        f"{where} is a response (tool_call_id {message.tool_call_id!r}, name {message.name!r}) "
        f"for which no call waits; waiting: {known if known else 'none'}"
    )


def _read_message(where: str, given: Mapping[str, Any] | Message | str) -> Message:
    if isinstance(given, Message):
        given = {key: value for key, value in vars(given).items() if key in ("role", "content") or value}
    if not isinstance(given, Mapping):
        _fail(where, f"must be a mapping with 'role' and 'content', not {_kind(given)}")
    role = given.get("role")
    if role not in ROLES:
        _fail(where, f"has the role {role!r}; roles are {', '.join(ROLES)}")
    _check_keys(where, given, KEYS[role], empty=EMPTY_KEYS if role == "assistant" else ())
    reasoning = _read_text(where, "reasoning", given.get("reasoning"))
    if not reasoning:  # clients keep both names, and some leave one of them empty
        reasoning = _read_text(where, "reasoning_content", given.get("reasoning_content"))
    calls = given.get("tool_calls")
    return Message(
        role=ROLES[ROLES.index(role)],
        content=_read_content(where, role, given.get("content")),
        name=_read_text(where, "name", given.get("name")),
        reasoning="" if reasoning is None else reasoning,
        tool_calls=() if calls is None else _read_calls(where, calls),
        tool_call_id=_read_text(where, "tool_call_id", given.get("tool_call_id")),
    )


def _read_content(where: str, role: Role, content: Any) -> Content:
    if content is None and role == "assistant":
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping) and role == "tool":
        return _read_json(where, "content", content)
    if not isinstance(content, list | tuple):
        _fail(where, f"has content of type {_kind(content)}; it must be text or a list of parts")
    parts = tuple(_read_part(f"{where}, part {i}", part) for i, part in enumerate(content))
    if role in ("system", "developer", "assistant") and not all(isinstance(part, str) for part in parts):
        _fail(
            where,
            f"has the role {role} and may hold text only; put images, audio and video into a user's message",
        )
    return parts


def _read_part(where: str, part: Any) -> str | MediaPart:
    if isinstance(part, str | MediaPart):
        return part
    if not isinstance(part, Mapping):
        _fail(where, f"must be a mapping with a 'type', not {_kind(part)}")
    kind = part.get("type")
    if kind == "text":
        _check_keys(where, part, ("type", "text"))
        if not isinstance(part.get("text"), str):
            _fail(where, f"has text of type {_kind(part.get('text'))}; it must be a string")
        return str(part["text"])
    if kind not in PART_KINDS:
        _fail(where, f"has the type {kind!r}; types are text, {', '.join(PART_KINDS)}")
    sources = (kind, "url", "path") if kind == PART_KINDS[kind] else (kind,)
    _check_keys(where, part, ("type", *sources, *(("tokens",) if PART_KINDS[kind] == "image" else ())))
    tokens = part.get("tokens")
    if tokens is not None and not isinstance(tokens, int):
        _fail(
            where, f"has tokens of type {_kind(tokens)}; give the most soft tokens of the image, such as 280"
        )
    given = [part[key] for key in sources if part.get(key) is not None]
    if len(given) > 1:
        _fail(where, f"has more than one source; give one of {', '.join(sources)}")
    return MediaPart(PART_KINDS[kind], given[0] if given else None, tokens)


def _read_calls(where: str, calls: Any) -> tuple[ToolCall, ...]:
    if not isinstance(calls, list | tuple):
        _fail(where, f"has tool_calls of type {_kind(calls)}; it must be a list")
    if len(calls) > MOST_CALLS:
        _fail(where, f"has {len(calls)} calls, and {MOST_CALLS} are the most; leave some out")
    return tuple(_read_call(f"{where}, call {i}", call) for i, call in enumerate(calls))


def _read_call(where: str, call: Any) -> ToolCall:
    if isinstance(call, ToolCall):
        call = {"id": call.id, "function": {"name": call.name, "arguments": call.arguments}}
    if not isinstance(call, Mapping):
        _fail(where, f"must be a mapping with 'function', not {_kind(call)}")
    _check_keys(where, call, ("id", "type", "index", "function"))
    function = call.get("function")
    if call.get("type", "function") != "function" or not isinstance(function, Mapping):
        _fail(where, "must look like {'type': 'function', 'function': {'name': …, 'arguments': …}}")
    _check_keys(where, function, ("name", "arguments"))
    name = function.get("name")
    if not isinstance(name, str) or not name:
        _fail(where, f"has the name {name!r}; it must be the function's name")
    call_id = _read_text(where, "id", call.get("id"))
    return ToolCall(name, _read_arguments(where, function.get("arguments")), call_id)


def _read_arguments(where: str, arguments: Any) -> Mapping[str, Any]:
    """The arguments as a mapping: OpenAI has them as JSON text, others as the mapping itself."""
    if arguments is None or arguments == "":
        return {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError) as error:
            raise BadMessages(
                f"{where} has arguments that are no JSON ({error}): {_short(arguments)}"
            ) from error
    if not isinstance(arguments, Mapping):
        _fail(where, f"has arguments of type {_kind(arguments)}; they must be a JSON object or a mapping")
    return _read_json(where, "arguments", arguments)


def _read_json(where: str, key: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        plain: Mapping[str, Any] = plain_json(value)
    except ValueError as error:
        raise BadMessages(f"{where} has {key} that JSON cannot hold: {error}; convert it first") from error
    return plain


def _read_text(where: str, key: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        _fail(where, f"has a {key} of type {_kind(value)}; it must be a string")
    return value


def _check_keys(
    where: str, given: Mapping[str, Any], allowed: Sequence[str], empty: Sequence[str] = ()
) -> None:
    """Nothing unless the mapping has other keys than those; `empty` ones may be there without a value."""
    unknown = [
        key for key in given if key not in allowed and not (key in empty and given[key] in (None, [], ""))
    ]
    if unknown:
        _fail(where, f"has the unknown key {', '.join(map(repr, unknown))}; allowed are {', '.join(allowed)}")


def _fail(where: str, problem: str) -> NoReturn:
    raise BadMessages(f"{where} {problem}")


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else line[:77] + "..."
