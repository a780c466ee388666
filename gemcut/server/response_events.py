"""Pieces of a reply → the events of /v1/responses, the last of which holds the whole response."""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gemcut.prompt.tokenizer import Tokenizer
from gemcut.reply import Delta, Finish
from gemcut.server.chat_chunks import call_json
from gemcut.server.logprobs import TextLogprobs
from gemcut.server.refusal import Refusal
from gemcut.server.sse import Event

PARTS = {"message": "output_text", "reasoning": "reasoning_text"}  # what stands in items that grow


@dataclass(frozen=True)
class Head:
    """request: what of it the response repeats.  logprobs: whether the text's are wanted."""

    request: dict[str, Any]
    logprobs: bool


class ResponseEvents:
    """The events of one reply, as `endpoint.Answer` has it.  keep: stores the response once it is whole."""

    end = b""

    def __init__(
        self,
        head: Head,
        tokenizer: Tokenizer,
        prompt_ids: Sequence[int],
        keep: Callable[[dict[str, Any]], None],
    ) -> None:
        self._response: dict[str, Any] = {
            "id": f"resp_{secrets.token_hex(16)}",
            "object": "response",
            "created_at": int(time.time()),
            "status": "in_progress",
            "background": False,
            "error": None,
            "incomplete_details": None,
            "output": [],
            "usage": None,
            **head.request,
        }
        self._wants_logprobs = head.logprobs
        self._logprobs = TextLogprobs(tokenizer, prompt_ids)
        self._keep = keep
        self._count = 0  # of events
        self._item: dict[str, Any] | None = None  # the one that grows
        self._finish: Finish | None = None

    def start(self) -> list[Event]:
        """A response without output."""
        return [
            self._event("response.created", response=dict(self._response)),
            self._event("response.in_progress", response=dict(self._response)),
        ]

    def push(self, number: int, delta: Delta) -> list[Event]:
        """A piece of the reply."""
        told = self._logprobs.of(delta.logprobs) if self._wants_logprobs else []
        match delta.kind:
            case "text":
                return [*self._begin("message"), self._grow(delta.text, told)]
            case "thought":
                return [*self._begin("reasoning"), self._grow(delta.text, [])]
            case "tool_call":
                return self._call(delta)
            case "finish":
                self._finish = delta.finish
        return []

    def finish(self) -> list[Event]:
        """The whole response."""
        assert self._finish is not None, "replies end with their finish"
        is_cut = self._finish.reason == "length"
        events = self._close("incomplete" if is_cut else "completed")
        usage = self._finish.usage
        self._response |= {
            "status": "incomplete" if is_cut else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "completed_at": int(time.time()),
            "usage": {
                "input_tokens": usage.prompt_tokens,
                "input_tokens_details": {"cached_tokens": usage.cached_tokens},
                "output_tokens": usage.completion_tokens,
                "output_tokens_details": {"reasoning_tokens": usage.thought_tokens},
                "total_tokens": usage.prompt_tokens + usage.completion_tokens,
            },
        }
        self._keep(self._response)
        return [*events, self._event(f"response.{self._response['status']}", response=self._response)]

    def failed(self, refusal: Refusal) -> list[Event]:
        """A response that cannot go on."""
        error = {"code": "server_error", "message": refusal.message}
        self._response |= {"status": "failed", "error": error}
        return [self._event("response.failed", response=self._response)]

    def whole(self, events: Sequence[Event]) -> dict[str, Any]:
        """The response that the last event holds."""
        response: dict[str, Any] = events[-1].data["response"]
        return response

    def _begin(self, kind: str) -> list[Event]:
        """Opens an item of that kind unless it is open."""
        if self._item is not None and self._item["type"] == kind:
            return []
        events = self._close("completed")
        name = secrets.token_hex(12)
        if kind == "message":
            self._item = {"id": f"msg_{name}", "type": kind, "role": "assistant"}
        else:
            self._item = {"id": f"rs_{name}", "type": kind, "summary": []}
        self._item |= {"status": "in_progress", "content": []}
        events.append(self._added())
        self._item["content"] = [_part(PARTS[kind])]
        events.append(self._event("response.content_part.added", **self._place(), part=_part(PARTS[kind])))
        return events

    def _grow(self, text: str, told: list[dict[str, Any]]) -> Event:
        assert self._item is not None
        part = self._item["content"][0]
        part["text"] += text
        kind = PARTS[self._item["type"]]
        more: dict[str, Any] = {"delta": text}
        if kind == "output_text":
            part["logprobs"] += told
            more["logprobs"] = told
        return self._event(f"response.{kind}.delta", **self._place(), **more)

    def _close(self, status: str) -> list[Event]:
        """Ends the item that grows."""
        if self._item is None:
            return []
        item, place = self._item, self._place()
        part, kind = item["content"][0], PARTS[item["type"]]
        more = {"logprobs": part["logprobs"]} if kind == "output_text" else {}
        item["status"] = status
        events = [
            self._event(f"response.{kind}.done", **place, text=part["text"], **more),
            self._event("response.content_part.done", **place, part=part),
            self._event("response.output_item.done", output_index=place["output_index"], item=item),
        ]
        self._response["output"].append(item)
        self._item = None
        return events

    def _call(self, delta: Delta) -> list[Event]:
        assert delta.tool_call is not None
        events = self._close("completed")
        made = call_json(delta.tool_call)
        arguments = made["function"]["arguments"]
        item = {
            "id": f"fc_{secrets.token_hex(12)}",
            "type": "function_call",
            "call_id": made["id"],
            "name": made["function"]["name"],
        }
        place = {"output_index": len(self._response["output"])}
        named = {"item_id": item["id"], **place}
        whole = item | {"arguments": arguments, "status": "completed"}
        begun = item | {"arguments": "", "status": "in_progress"}
        events += [
            self._event("response.output_item.added", **place, item=begun),
            self._event("response.function_call_arguments.delta", **named, delta=arguments),
            self._event(
                "response.function_call_arguments.done", **named, name=item["name"], arguments=arguments
            ),
            self._event("response.output_item.done", **place, item=whole),
        ]
        self._response["output"].append(whole)
        return events

    def _added(self) -> Event:
        assert self._item is not None
        index = len(self._response["output"])
        return self._event("response.output_item.added", output_index=index, item=dict(self._item))

    def _place(self) -> dict[str, Any]:
        assert self._item is not None
        index = len(self._response["output"])
        return {"item_id": self._item["id"], "output_index": index, "content_index": 0}

    def _event(self, kind: str, /, **data: Any) -> Event:
        event = Event({"type": kind, "sequence_number": self._count, **data}, kind)
        self._count += 1
        return event


def _part(kind: str) -> dict[str, Any]:
    empty: dict[str, Any] = {"type": kind, "text": ""}
    return empty | ({"annotations": [], "logprobs": []} if kind == "output_text" else {})
