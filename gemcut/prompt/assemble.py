"""Messages → token ids: exactly what the model reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gemcut.errors import BadMessages, PromptTooLong, TemplateFailed
from gemcut.prompt.escape import encode_protected, protect
from gemcut.prompt.media import MediaReader, Prepared, place_media
from gemcut.prompt.messages import (
    Conversation,
    MediaPart,
    Message,
    check_answerable,
    pair_responses,
    read_messages,
)
from gemcut.prompt.template import ChatTemplate
from gemcut.prompt.tokenizer import Tokenizer
from gemcut.prompt.tools import Tools, read_tools

TOKENS_OF_A_MESSAGE = 4  # that at least are written for it: the marks of its turn, and whose turn it is


@dataclass(frozen=True)
class Prompt:
    """What the model reads: the ids, and the media whose soft tokens belong to the placeholders, in order."""

    token_ids: tuple[int, ...]
    media: tuple[Prepared, ...] = ()


@dataclass(frozen=True)
class PromptFormat:
    """How a model's prompts are written."""

    tokenizer: Tokenizer
    template: ChatTemplate
    media: MediaReader


def assemble(
    messages: Conversation,
    tools: Tools | None,
    think: bool,
    form: PromptFormat,
    trust_control_tokens: bool = False,
) -> Prompt:
    """The prompt for the model's next turn, with exactly one `<bos>`, at its start.

    Control strings in the messages and tools stay plain text unless trust_control_tokens is set.
    Raises BadMessages, EmptyPrompt, BadTools, TemplateFailed; UnsupportedInput for media that the model does
    not take, before anything is read; BadMedia and BadOption for media that cannot be read; PromptTooLong for
    what is far too long, before the work that this would be.
    """
    checked = read_messages(messages)
    context = form.media.config.text.max_position_embeddings
    _check_least(TOKENS_OF_A_MESSAGE * len(checked), context)
    check_answerable(checked)
    form.media.check_kinds(checked)
    conversation: list[Any] = template_messages(checked)
    declared: list[Any] = list(read_tools(tools))
    if not trust_control_tokens:
        conversation, declared = protect(conversation), protect(declared)
    rendered = form.template.render(conversation, tools=declared, think=think)
    check_length(rendered, form.tokenizer, context)
    placed, media = place_media(rendered, checked, form.media)
    ids = (
        form.tokenizer.encode(placed, special=True)
        if trust_control_tokens
        else encode_protected(placed, form.tokenizer)
    )
    return Prompt(_with_one_bos(ids, form.tokenizer.special.bos), media)


def check_length(text: str, tokenizer: Tokenizer, context: int) -> None:
    """Raises PromptTooLong for a text that cannot fit: its tokens might take minutes, and gigabytes.

    context: how many tokens the model reads.
    """
    _check_least(len(text) // tokenizer.longest, context)


def template_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages in the shape that chat templates read.

    Three things happen on the way. Thoughts within an assistant's text are taken out (templates do so too,
    but here it must come before control strings are marked). An assistant's text and calls become two
    messages, text first, as the model wrote them: the official template would print the text after the
    responses, and leave no turn for the answer. Responses go where Google's own format has them, on the
    caller's message: every version of the official template reads them there, and mappings nowhere else.
    But where one of a message's responses holds media, all of them stay messages: only there do templates
    place media.
    Raises BadMessages for a mapping beside a response with media.
    """
    pairs = pair_responses(messages)
    shown = {caller for index, (caller, _) in pairs.items() if _has_media(messages[index])}
    written: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        where = f"message {index}"
        if message.role == "tool":
            caller, number = pairs[index]
            name = messages[caller].tool_calls[number].name
            if caller in shown:
                written.append(_response_message(where, message, name))
                continue
            response = {"name": name, "response": _response(where, message)}
            written[-1].setdefault("tool_responses", []).append(response)
        elif message.role == "assistant":
            written += _assistant(where, message)
        else:
            written.append({"role": message.role, "content": _content(where, message)})
    return written


def _check_least(num_tokens: int, context: int) -> None:
    if num_tokens > context:
        raise PromptTooLong(
            f"the prompt has at least {num_tokens} tokens and this model's context holds {context},"
            " the reply included; shorten the prompt"
        )


def strip_thoughts(text: str) -> str:
    """The text without its `<|channel>…<channel|>` spans, trimmed."""
    return "".join(part.split("<|channel>")[0] for part in text.split("<channel|>")).strip()


def _assistant(where: str, message: Message) -> list[dict[str, Any]]:
    """One message, or two where it holds both text and calls; the thoughts go with the first."""
    content = _content(where, message)
    texts = [content] if isinstance(content, str) else [part["text"] for part in content]
    text = "".join(strip_thoughts(text) for text in texts)
    said = {"role": "assistant", "content": text, "reasoning": message.reasoning}
    if not message.tool_calls:
        return [said]
    calls = [  # ids of our own: the template takes calls and responses without ids for the same
        {
            "id": f"{where}, call {i}",
            "type": "function",
            "function": {"name": call.name, "arguments": dict(call.arguments)},
        }
        for i, call in enumerate(message.tool_calls)
    ]
    if not text:
        return [said | {"tool_calls": calls}]
    return [said, {"role": "assistant", "content": "", "tool_calls": calls}]


def _content(where: str, message: Message) -> Any:
    """The content as a string or a list of parts."""
    if isinstance(message.content, str):
        return message.content
    return [
        {"type": part.kind} if isinstance(part, MediaPart) else {"type": "text", "text": part}
        for part in message.content
    ]


def _has_media(message: Message) -> bool:
    return any(isinstance(part, MediaPart) for part in message.content)


def _response(where: str, message: Message) -> Any:
    """A tool's response: a mapping as it is, or text."""
    if isinstance(message.content, Mapping):
        return dict(message.content)
    content = _content(where, message)
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _response_message(where: str, message: Message, name: str) -> dict[str, Any]:
    if isinstance(message.content, Mapping):
        raise BadMessages(f"{where} is a mapping beside a response with media; give it as JSON text")
    content = _content(where, message)
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return {"role": "tool", "name": name, "content": parts}


def _with_one_bos(ids: list[int], bos: int) -> tuple[int, ...]:
    """The ids with `<bos>` at their start, which templates may leave to the tokenizer."""
    count = ids.count(bos)
    if count == 0:
        return (bos, *ids)
    if count > 1 or ids[0] != bos:
        place = "one of them not at its start" if count > 1 else "not at its start"
        raise TemplateFailed(
            f"the prompt has {count} <bos>, {place}; take <bos> out of the messages or of the chat template"
        )
    return tuple(ids)
