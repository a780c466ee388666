"""Pieces of a reply → Anthropic's events, and these → the message they add up to."""

import json
import secrets
from collections.abc import Sequence
from typing import Any, Literal

from gemcut.reply import Delta, Finish
from gemcut.server.refusal import Refusal
from gemcut.server.sse import Event, to_json

SIGNATURE = "gemcut"  # clients want one; it proves nothing


class MessageEvents:
    """The events of one reply, as `endpoint.Answer` has it.  num_prompt: tokens that the model reads."""

    end = b""

    def __init__(self, model: str, num_prompt: int) -> None:
        self._message: dict[str, Any] = {
            "id": f"msg_{secrets.token_hex(12)}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _usage(num_prompt, 0, 0),
        }
        self._open: Literal["text", "thinking"] | None = None  # the kind of block that has no end yet
        self._num_blocks = 0
        self._finish: Finish | None = None

    def start(self) -> list[Event]:
        """An empty message."""
        return [_event("message_start", message=self._message)]

    def push(self, number: int, delta: Delta) -> list[Event]:
        """A piece of the reply."""
        match delta.kind:
            case "text":
                more = {"type": "text_delta", "text": delta.text}
                return [*self._begin("text", {"type": "text", "text": ""}), self._more(more)]
            case "thought":
                block = {"type": "thinking", "thinking": "", "signature": ""}
                more = {"type": "thinking_delta", "thinking": delta.text}
                return [*self._begin("thinking", block), self._more(more)]
            case "tool_call":
                return self._call(delta)
            case "finish":
                self._finish = delta.finish
        return []

    def finish(self) -> list[Event]:
        """Why it ended, and how many tokens there were."""
        assert self._finish is not None, "replies end with their finish"
        usage = self._finish.usage
        return [
            *self._close(),
            _event(
                "message_delta",
                delta={"stop_reason": _reason(self._finish), "stop_sequence": self._finish.stop_text},
                usage=_usage(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens),
            ),
            _event("message_stop"),
        ]

    def failed(self, refusal: Refusal) -> list[Event]:
        """An error in the middle of a stream."""
        return [Event(refusal.body("anthropic", ""), "error")]

    def whole(self, events: Sequence[Event]) -> dict[str, Any]:
        """The message that the events add up to."""
        return whole_message([event.data for event in events])

    def _call(self, delta: Delta) -> list[Event]:
        call = delta.tool_call
        assert call is not None
        block = {
            "type": "tool_use",
            "id": f"toolu_{secrets.token_hex(12)}",
            "name": call.name,
            "input": {},
        }
        more = {"type": "input_json_delta", "partial_json": to_json(dict(call.arguments))}
        events = [*self._close(), self._started(block), self._more(more), self._ended()]
        self._num_blocks += 1
        return events

    def _begin(self, kind: Literal["text", "thinking"], block: dict[str, Any]) -> list[Event]:
        """Opens a block of that kind unless it is open."""
        if self._open == kind:
            return []
        events = [*self._close(), self._started(block)]
        self._open = kind
        return events

    def _close(self) -> list[Event]:
        """Ends the open block."""
        if self._open is None:
            return []
        signed = [self._more({"type": "signature_delta", "signature": SIGNATURE})]
        events = [*(signed if self._open == "thinking" else []), self._ended()]
        self._open = None
        self._num_blocks += 1
        return events

    def _started(self, block: dict[str, Any]) -> Event:
        return _event("content_block_start", index=self._num_blocks, content_block=block)

    def _more(self, delta: dict[str, Any]) -> Event:
        return _event("content_block_delta", index=self._num_blocks, delta=delta)

    def _ended(self) -> Event:
        return _event("content_block_stop", index=self._num_blocks)


def whole_message(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The message that events add up to."""
    message: dict[str, Any] = {}
    blocks: list[dict[str, Any]] = []
    arguments = ""
    for event in events:
        match event["type"]:
            case "message_start":
                message = dict(event["message"])
            case "content_block_start":
                blocks.append(dict(event["content_block"]))
            case "content_block_delta":
                for name in ("text", "thinking", "signature"):
                    if name in event["delta"]:
                        blocks[-1][name] += event["delta"][name]
                arguments += event["delta"].get("partial_json", "")
            case "content_block_stop" if arguments:
                blocks[-1]["input"] = json.loads(arguments)
                arguments = ""
            case "message_delta":
                message |= event["delta"] | {"usage": event["usage"]}
    return message | {"content": blocks}


def _event(kind: str, /, **data: Any) -> Event:
    return Event({"type": kind, **data}, kind)


def _usage(prompt: int, cached: int, made: int) -> dict[str, int]:
    """Anthropic counts what was cached apart."""
    return {
        "input_tokens": prompt - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": made,
    }


def _reason(finish: Finish) -> str:
    if finish.stop_text is not None:
        return "stop_sequence"
    return {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}[finish.reason]
