"""/v1/chat/completions: a request → a question to the model."""

from collections.abc import Mapping, Sequence
from typing import Any

from gemcut.live import LiveReply
from gemcut.many import Question, ReplyOptions
from gemcut.server.chat_chunks import ChatChunks, Wanted
from gemcut.server.chat_fields import ChatRequest, wants_usage
from gemcut.server.fields import read_fields
from gemcut.server.message_fields import conversation, num_media
from gemcut.server.models import Served
from gemcut.server.refusal import Refusal
from gemcut.server.running import Ring
from gemcut.server.sampling_fields import capped, check_samples
from gemcut.server.serving import Serving
from gemcut.server.thinking import thinking


class ChatAsked:
    """A chat to be answered, as `endpoint.Asked` has it."""

    subject = "messages"

    def __init__(self, request: ChatRequest, serving: Serving) -> None:
        self.model = request.model
        self.is_streamed = bool(request.stream)
        self.log = {
            "user": request.user,
            "safety_identifier": request.safety_identifier,
            "prompt_cache_key": request.prompt_cache_key,
        }
        self._wants_usage = wants_usage(self.is_streamed, request.stream_options)
        self._request = request
        self._question = question_of(request, serving)

    def ask(self, served: Served, ring: Ring) -> list[LiveReply]:
        """Starts the replies."""
        return served.gemma.live(self._question, ring)

    def answer(self, served: Served, replies: Sequence[LiveReply]) -> ChatChunks:
        """The replies as chunks."""
        wanted = Wanted(
            usage=self._wants_usage,
            thoughts=self._request.include_reasoning,
            logprobs=self._request.num_logprobs is not None,
        )
        return ChatChunks(served.name, served.gemma.tokenizer, replies, wanted)


def read_chat(given: Any, serving: Serving) -> ChatAsked:
    """A request's body, checked.  Raises Refusal and what else is wrong with it."""
    return ChatAsked(read_fields(ChatRequest, given), serving)


def question_of(request: ChatRequest, serving: Serving) -> Question:
    """What the model is asked."""
    messages = conversation(request.messages)
    check_media(messages, serving)
    template, processor = request.chat_template_kwargs, request.mm_processor_kwargs
    think, budget = thinking(
        request.reasoning_effort,
        None if template is None else template.enable_thinking,
        request.thinking_token_budget,
    )
    check_samples(request.n or 1, serving.options.most_samples)
    field = "max_tokens" if request.max_completion_tokens is None else "max_completion_tokens"
    most = capped(request.most_tokens, serving.options.most_reply_tokens, field)
    tools = [tool.model_dump(exclude_none=True) for tool in request.tools or ()]
    options = ReplyOptions(
        tools=tools,
        think=think,
        media=serving.media(None if processor is None else processor.max_soft_tokens),
        schema=request.schema_asked,
        constrain_tools=request.constrain_tools,
        calls=request.call_rules,
        sampling=request.params(most, request.num_logprobs, budget),
    )
    return Question(messages, options)


def check_media(messages: list[Mapping[str, Any]] | list[dict[str, Any]], serving: Serving) -> None:
    """Raises Refusal 413 for more images, recordings and videos than the operator lets through."""
    count, most = num_media([*messages]), serving.options.most_media
    if count > most:
        raise Refusal(
            413,
            f"the messages hold {count} images, recordings and videos and {most} are the most",
            "messages",
        )
