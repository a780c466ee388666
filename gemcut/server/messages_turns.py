"""Anthropic's turns → messages in OpenAI's shape, which `gemcut.prompt.messages` reads."""

from collections.abc import Sequence
from typing import Any

from gemcut.server.messages_fields import (
    AssistantTurn,
    ImageBlock,
    ImageData,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserTurn,
)


def chat_messages(
    system: str | Sequence[TextBlock] | None, turns: Sequence[UserTurn | AssistantTurn]
) -> list[dict[str, Any]]:
    """The conversation, the system's words first."""
    messages: list[dict[str, Any]] = []
    if system:
        text = system if isinstance(system, str) else "\n".join(block.text for block in system)
        messages.append({"role": "system", "content": text})
    for turn in turns:
        messages += _user(turn) if isinstance(turn, UserTurn) else [_assistant(turn)]
    return messages


def _user(turn: UserTurn) -> list[dict[str, Any]]:
    """A message for each result of a tool, then what the person says."""
    if isinstance(turn.content, str):
        return [{"role": "user", "content": turn.content}]
    results = [_result(block) for block in turn.content if isinstance(block, ToolResultBlock)]
    parts = [_part(block) for block in turn.content if not isinstance(block, ToolResultBlock)]
    return [*results, *([{"role": "user", "content": parts}] if parts or not results else [])]


def _result(block: ToolResultBlock) -> dict[str, Any]:
    """A tool's result; one that is an error says so to the model."""
    content: Any = "" if block.content is None else block.content
    if not isinstance(content, str):
        content = [_part(part) for part in content]
    if block.is_error:
        content = _error(content)
    return {"role": "tool", "tool_call_id": block.tool_use_id, "content": content}


def _error(content: Any) -> Any:
    if isinstance(content, str):
        return {"error": content}
    return [{"type": "text", "text": "Error: "}, *content]


def _part(block: TextBlock | ImageBlock) -> dict[str, Any]:
    if isinstance(block, TextBlock):
        return {"type": "text", "text": block.text}
    source = block.source
    url = f"data:{source.media_type};base64,{source.data}" if isinstance(source, ImageData) else source.url
    return {"type": "image_url", "image_url": {"url": url}}


def _assistant(turn: AssistantTurn) -> dict[str, Any]:
    if isinstance(turn.content, str):
        return {"role": "assistant", "content": turn.content}
    blocks = turn.content
    calls = [
        {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": block.input}}
        for block in blocks
        if isinstance(block, ToolUseBlock)
    ]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(block.text for block in blocks if isinstance(block, TextBlock)),
    }
    if thoughts := "".join(block.thinking for block in blocks if isinstance(block, ThinkingBlock)):
        message["reasoning"] = thoughts
    return message | ({"tool_calls": calls} if calls else {})
