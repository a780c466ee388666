"""/v1/responses: a request, and what was stored before it → a question to the model."""

import secrets
from collections.abc import Sequence
from typing import Any

from gemcut.engine.sampling_params import SamplingParams
from gemcut.live import LiveReply
from gemcut.many import Question, ReplyOptions
from gemcut.server.chat import check_media
from gemcut.server.fields import read_fields
from gemcut.server.models import Served
from gemcut.server.response_events import Head, ResponseEvents
from gemcut.server.response_fields import ResponseRequest
from gemcut.server.response_items import chat_messages
from gemcut.server.running import Ring
from gemcut.server.sampling_fields import capped
from gemcut.server.serving import Serving
from gemcut.server.store import Stored
from gemcut.server.thinking import thinking


class ResponseAsked:
    """What is to be answered, as `endpoint.Asked` has it."""

    subject = "input"

    def __init__(self, request: ResponseRequest, serving: Serving) -> None:
        self.model = request.model
        self.is_streamed = bool(request.stream)
        self.log = {
            "user": request.user,
            "safety_identifier": request.safety_identifier,
            "prompt_cache_key": request.prompt_cache_key,
        }
        self._request = request
        self._serving = serving
        self._before = _before(request, serving)
        self._given = tuple(serving.store.resolved(item) for item in request.items)
        self._question = self._asked()

    def ask(self, served: Served, ring: Ring) -> list[LiveReply]:
        """Starts the reply."""
        return served.gemma.live(self._question, ring)

    def answer(self, served: Served, replies: Sequence[LiveReply]) -> ResponseEvents:
        """The reply as events."""
        head = Head(shown_request(self._request, served.name), self._request.num_logprobs is not None)
        return ResponseEvents(head, served.gemma.tokenizer, replies[0].prompt_ids, self._keep)

    def _asked(self) -> Question:
        request = self._request
        messages = chat_messages((*self._before, *self._given))
        if request.instructions:
            messages.insert(0, {"role": "system", "content": request.instructions})
        check_media(messages, self._serving)
        think, budget = thinking(None if request.reasoning is None else request.reasoning.effort, None, None)
        options = ReplyOptions(
            tools=[_tool(tool.model_dump(exclude_none=True)) for tool in request.tools or ()],
            think=think,
            media=self._serving.media(),
            schema=request.schema_asked,
            calls=request.call_rules,
            sampling=SamplingParams(
                temperature=request.temperature,
                top_p=request.top_p,
                max_tokens=capped(
                    request.max_output_tokens, self._serving.options.most_reply_tokens, "max_output_tokens"
                ),
                logprobs=request.num_logprobs,
                max_thought_tokens=budget,
            ),
        )
        return Question(messages, options)

    def _keep(self, response: dict[str, Any]) -> None:
        """Stores what came of it, where that is wanted."""
        request, store = self._request, self._serving.store
        given = tuple(with_id(item) for item in self._given)
        made = tuple(response["output"])
        if request.store is not False:
            store.put(response["id"], Stored("response", response, self._before, given, made))
        name = request.conversation_id
        before = None if name is None else store.find(name, "conversation")
        if name is not None and before is not None:  # it may have been deleted meanwhile
            store.put(name, Stored("conversation", before.shown, given=(*before.given, *given, *made)))


def read_response(given: Any, serving: Serving) -> ResponseAsked:
    """A request's body, checked.  Raises Refusal and what else is wrong with it."""
    return ResponseAsked(read_fields(ResponseRequest, given), serving)


def shown_request(request: ResponseRequest, model: str) -> dict[str, Any]:
    """What of a request its response repeats."""
    given = request.model_dump(by_alias=True)
    text = given["text"] or {}
    name = request.conversation_id
    return {
        "model": model,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "metadata": given["metadata"] or {},
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "conversation": None if name is None else {"id": name},
        "reasoning": {"effort": (given["reasoning"] or {}).get("effort"), "summary": None},
        "store": request.store is not False,
        "temperature": request.temperature,
        "text": {"format": text.get("format") or {"type": "text"}},
        "tool_choice": given["tool_choice"] or "auto",
        "tools": given["tools"] or [],
        "top_logprobs": request.top_logprobs or 0,
        "top_p": request.top_p,
        "truncation": "disabled",
        "user": request.user,
    }


def _before(request: ResponseRequest, serving: Serving) -> tuple[dict[str, Any], ...]:
    """The items of what this goes on with."""
    if (name := request.conversation_id) is not None:
        return serving.store.get(name, "conversation").items
    if request.previous_response_id is None:
        return ()
    return serving.store.get(request.previous_response_id, "response").items


def with_id(item: dict[str, Any]) -> dict[str, Any]:
    """The item with an id of its own, where it has none."""
    prefix = {"function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}.get(
        item["type"], "msg"
    )
    return {"id": f"{prefix}_{secrets.token_hex(12)}", "status": "completed", **item}


def _tool(flat: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {key: value for key, value in flat.items() if key != "type"}}
