"""/v1/messages: Anthropic's requests → questions to the model."""

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gemcut.engine.sampling_params import SamplingParams
from gemcut.live import LiveReply
from gemcut.many import Question, ReplyOptions
from gemcut.server.chat import check_media
from gemcut.server.fields import read_fields
from gemcut.server.messages_events import MessageEvents
from gemcut.server.messages_fields import CountRequest, MessagesRequest
from gemcut.server.messages_turns import chat_messages
from gemcut.server.models import Served
from gemcut.server.running import Ring
from gemcut.server.sampling_fields import capped
from gemcut.server.serving import Serving


class MessagesAsked:
    """A conversation to be answered, as `endpoint.Asked` has it."""

    subject = "messages"

    def __init__(self, request: MessagesRequest, serving: Serving) -> None:
        self.model: str | None = request.model
        self.is_streamed = bool(request.stream)
        self.log = {"user": None if request.metadata is None else request.metadata.user_id}
        self._question = question_of(request, serving)

    def ask(self, served: Served, ring: Ring) -> list[LiveReply]:
        """Starts the reply."""
        return served.gemma.live(self._question, ring)

    def answer(self, served: Served, replies: Sequence[LiveReply]) -> MessageEvents:
        """The reply as events."""
        return MessageEvents(served.name, len(replies[0].prompt_ids))


def read_messages_request(given: Any, serving: Serving) -> MessagesAsked:
    """A request's body, checked.  Raises Refusal and what else is wrong with it."""
    return MessagesAsked(read_fields(MessagesRequest, given), serving)


def question_of(request: MessagesRequest, serving: Serving) -> Question:
    """What the model is asked."""
    messages = _messages(request, serving)
    config = request.output_config
    think, budget = request.thoughts
    options = ReplyOptions(
        tools=_tools(request),
        think=think,
        media=serving.media(),
        schema=None if config is None or config.format is None else config.format.schema_,
        calls=request.call_rules,
        sampling=SamplingParams(
            temperature=request.temperature,
            top_k=request.top_k,
            top_p=request.top_p,
            max_tokens=capped(request.max_tokens, serving.options.most_reply_tokens),
            stop=tuple(request.stop_sequences or ()),
            max_thought_tokens=budget,
        ),
    )
    return Question(messages, options)


class CountTokens:
    """The handler of /v1/messages/count_tokens."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def count(self, request: Request) -> Response:
        """How many tokens the model would read."""
        return JSONResponse(await self._serving.of_json(request, self._count))

    def _count(self, given: Any) -> dict[str, int]:
        asked = read_fields(CountRequest, given)
        prompt = self._serving.models.find(asked.model).gemma.prompt(
            _messages(asked, self._serving),
            tools=_tools(asked),
            think=asked.thoughts[0],
            media=self._serving.media(),
        )
        return {"input_tokens": len(prompt.token_ids)}


def _messages(request: CountRequest, serving: Serving) -> list[dict[str, Any]]:
    messages = chat_messages(request.system, request.messages)
    check_media(messages, serving)
    return messages


def _tools(request: CountRequest) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.input_schema,
            },
        }
        for tool in request.tools or ()
    ]
