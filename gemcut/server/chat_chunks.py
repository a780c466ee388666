"""Pieces of replies → chat.completion.chunk objects, and these → the chat.completion they add up to."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gemcut.live import LiveReply
from gemcut.prompt.messages import ToolCall
from gemcut.prompt.tokenizer import Tokenizer
from gemcut.reply import Delta, Finish
from gemcut.server.logprobs import TextLogprobs
from gemcut.server.refusal import Refusal
from gemcut.server.sse import DONE, Event, to_json


@dataclass(frozen=True)
class Wanted:
    """What a client wants beside text and calls."""

    usage: bool
    thoughts: bool
    logprobs: bool


class ChatChunks:
    """The events of one chat's replies, as `endpoint.Answer` has it."""

    end = DONE

    def __init__(
        self, model: str, tokenizer: Tokenizer, replies: Sequence[LiveReply], wanted: Wanted
    ) -> None:
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }
        self._wanted = wanted
        self._num_calls = [0] * len(replies)
        self._finished: list[Finish] = []
        self._logprobs = [TextLogprobs(tokenizer, reply.prompt_ids) for reply in replies if wanted.logprobs]
        self._around = [self._around_text(number) for number in range(len(replies))]

    def start(self) -> list[Event]:
        """Who speaks."""
        first = {"role": "assistant", "content": ""}
        return [self._chunk(number, first) for number in range(len(self._num_calls))]

    def push(self, number: int, delta: Delta) -> list[Event]:
        """A piece of one reply."""
        told = self._logprobs[number].of(delta.logprobs) if self._wanted.logprobs else []
        match delta.kind:
            case "text":
                chunk = self._chunk(number, {"content": delta.text}, told)
                if told:
                    return [chunk]
                before, after = self._around[number]
                return [Event(chunk.data, json=f"{before}{to_json(delta.text)}{after}")]
            case "thought" if self._wanted.thoughts:  # under both names that clients know
                return [self._chunk(number, {"reasoning": delta.text, "reasoning_content": delta.text})]
            case "tool_call":
                assert delta.tool_call is not None
                call = call_json(delta.tool_call) | {"index": self._num_calls[number]}
                self._num_calls[number] += 1
                return [self._chunk(number, {"tool_calls": [call]})]
            case "finish":
                assert delta.finish is not None
                self._finished.append(delta.finish)
                return [self._chunk(number, {}, told, delta.finish.reason)]
        return []

    def finish(self) -> list[Event]:
        """How many tokens there were, where that is wanted."""
        if not self._wanted.usage:
            return []
        return [Event({**self._head, "choices": [], "usage": usage_json(self._finished)})]

    def failed(self, refusal: Refusal) -> list[Event]:
        """An error in the middle of a stream."""
        return [Event(refusal.body("openai", ""))]

    def whole(self, events: Sequence[Event]) -> dict[str, Any]:
        """The completion that the chunks add up to."""
        return whole_chat([event.data for event in events])

    def _around_text(self, number: int) -> tuple[str, str]:
        """The JSON of a chunk before and after its text, in which alone nearly all of them differ.

        To encode each whole took a third of the time that a token takes from the engine to the wire.
        """
        before, _, after = to_json(self._chunk(number, {"content": ""}).data).rpartition('""')
        return before, after

    def _chunk(
        self, number: int, delta: dict[str, Any], told: Sequence[Any] = (), reason: str | None = None
    ) -> Event:
        choice: dict[str, Any] = {"index": number, "delta": delta, "finish_reason": reason}
        if told:
            choice["logprobs"] = {"content": list(told), "refusal": None}
        return Event({**self._head, "choices": [choice]})


def call_json(call: ToolCall) -> dict[str, Any]:
    """A whole call with a name of its own; strict clients want id, type and name in each chunk of a call."""
    return {
        "id": f"call_{secrets.token_hex(12)}",
        "type": "function",
        "function": {"name": call.name, "arguments": to_json(dict(call.arguments))},
    }


def usage_json(finished: Sequence[Finish]) -> dict[str, Any]:
    """The tokens of one prompt and of all replies to it."""
    prompt = finished[0].usage
    made = sum(finish.usage.completion_tokens for finish in finished)
    return {
        "prompt_tokens": prompt.prompt_tokens,
        "completion_tokens": made,
        "total_tokens": prompt.prompt_tokens + made,
        "prompt_tokens_details": {"cached_tokens": min(f.usage.cached_tokens for f in finished)},
        "completion_tokens_details": {
            "reasoning_tokens": sum(finish.usage.thought_tokens for finish in finished)
        },
    }


def whole_chat(chunks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The chat.completion that chunks add up to."""
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            number = choice["index"]
            _add(choices.setdefault(number, _empty_choice(number)), choice)
    for choice in choices.values():
        message = choice["message"]
        if message["content"] == "" and "tool_calls" in message:
            message["content"] = None
    head = {**chunks[0], "object": "chat.completion"}
    return {
        **head,
        "choices": [choices[number] for number in sorted(choices)],
        "usage": chunks[-1]["usage"],
    }


def _empty_choice(number: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": "", "refusal": None}
    return {"index": number, "message": message, "logprobs": None, "finish_reason": None}


def _add(choice: dict[str, Any], more: dict[str, Any]) -> None:
    """What one chunk adds to one choice."""
    message = choice["message"]
    for name in ("content", "reasoning", "reasoning_content"):
        if name in more["delta"]:
            message[name] = message.get(name, "") + more["delta"][name]
    for call in more["delta"].get("tool_calls", ()):
        whole = {key: value for key, value in call.items() if key != "index"}
        message.setdefault("tool_calls", []).append(whole)
    if more.get("logprobs"):
        before = choice["logprobs"] or {"content": [], "refusal": None}
        before["content"] = before["content"] + more["logprobs"]["content"]
        choice["logprobs"] = before
    if more["finish_reason"] is not None:
        choice["finish_reason"] = more["finish_reason"]
