"""The request of /v1/chat/completions: every field that is honoured, and why the others are not."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from gemcut.prompt.tool_grammar import CallRules
from gemcut.server.fields import Fields, Refused
from gemcut.server.message_fields import ChatMessage, ChatTool
from gemcut.server.refusal import Refusal
from gemcut.server.sampling_fields import SamplingFields, within
from gemcut.server.thinking import Effort


class StreamOptions(Fields):
    """include_usage: whether the last chunk of a stream says how many tokens there were."""

    include_usage: bool | None = None
    refused = {"include_obfuscation": Refused("chunks are not padded", (False,))}


def wants_usage(is_streamed: bool, options: StreamOptions | None) -> bool:
    """Whether an answer says how many tokens there were.  Raises Refusal for options without a stream."""
    if not is_streamed and options is not None:
        raise Refusal(400, "stream_options needs stream: true", param="stream_options")
    return not is_streamed or (options is not None and bool(options.include_usage))


class TemplateOptions(Fields):
    """enable_thinking: whether the model thinks before it answers."""

    enable_thinking: bool | None = None


class MediaOptions(Fields):
    """max_soft_tokens: of each image that does not say so itself."""

    max_soft_tokens: Literal[70, 140, 280, 560, 1120] | None = None


class Name(Fields):
    """A function's name."""

    name: str


class NamedTool(Fields):
    """One tool."""

    type: Literal["function"]
    function: Name


class AllowedSet(Fields):
    """Some of the tools, of which the model may or must call one."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedTool], Field(min_length=1)]


class AllowedTools(Fields):
    """Some of the tools."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedSet


class SchemaFormat(Fields):
    """A schema and its name; replies follow it, strict or not."""

    name: str
    description: str | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


class TextFormat(Fields):
    """Free text."""

    type: Literal["text"]


class ObjectFormat(Fields):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonFormat(Fields):
    """JSON that follows a schema."""

    type: Literal["json_schema"]
    json_schema: SchemaFormat


Format = Annotated[TextFormat | ObjectFormat | JsonFormat, Field(discriminator="type")]
Choice = Annotated[NamedTool | AllowedTools, Field(discriminator="type")]
ONE_TEXT = "replies are text"


class ChatRequest(SamplingFields):
    """A chat to be answered."""

    model: str | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Annotated[int, within("max_tokens")] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: Format | None = None
    tools: list[ChatTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | Choice | None = None
    parallel_tool_calls: bool | None = None
    constrain_tools: bool = True
    reasoning_effort: Effort | None = None
    thinking_token_budget: Annotated[int, within("max_thought_tokens")] | None = None
    include_reasoning: bool = True
    chat_template_kwargs: TemplateOptions | None = None
    mm_processor_kwargs: MediaOptions | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    refused = {
        "audio": Refused(ONE_TEXT),
        "modalities": Refused(ONE_TEXT, (["text"],)),
        "functions": Refused("this form is outdated; use tools"),
        "function_call": Refused("this form is outdated; use tool_choice", ("none", "auto")),
        "prediction": Refused("predicted output is not used"),
        "store": Refused("chats are not stored; /v1/responses are", (False,)),
        "metadata": Refused("chats are not stored, so nothing could be found by it", ({},)),
        "service_tier": Refused("there is one tier", ("auto", "default")),
        "verbosity": Refused("Gemma 4 has no such switch; say it in the system prompt", ("medium",)),
        "web_search_options": Refused("this server does not search"),
        "prompt_logprobs": Refused("chats have none; /v1/completions with echo has"),
        "ignore_eos": Refused("use min_tokens", (False,)),
        "add_generation_prompt": Refused("use /v1/completions for raw prompts", (True,)),
        "continue_final_message": Refused("use /v1/completions for raw prompts", (False,)),
    }

    @property
    def most_tokens(self) -> int | None:
        """The most tokens of the reply.  Raises Refusal where the two fields for it differ."""
        old, new = self.max_tokens, self.max_completion_tokens
        if None not in (old, new) and old != new:
            raise Refusal(
                400,
                f"max_tokens is {old} and max_completion_tokens {new}; leave one out",
                param="max_completion_tokens",
            )
        return old if new is None else new

    @property
    def num_logprobs(self) -> int | None:
        """Of how many likeliest tokens log probabilities are wanted; None for none at all."""
        if not self.logprobs:
            if self.top_logprobs:
                raise Refusal(400, "top_logprobs needs logprobs: true", param="top_logprobs")
            return None
        return 0 if self.top_logprobs is None else self.top_logprobs

    @property
    def schema_asked(self) -> dict[str, Any] | None:
        """What the answer must follow."""
        match self.response_format:
            case ObjectFormat():
                return {"type": "object"}
            case JsonFormat(json_schema=wanted):
                return wanted.schema_
        return None

    @property
    def call_rules(self) -> CallRules | None:
        """Which calls there may be; None where tool_choice and parallel_tool_calls leave it open.

        Raises Refusal 400 for tools that are not there, and for rules that free calls would not keep.
        """
        tools = [tool.function for tool in self.tools or ()]
        rules = call_rules(self.tool_choice, self.parallel_tool_calls, [tool.name for tool in tools])
        if not self.constrain_tools and (rules is not None or any(tool.strict for tool in tools)):
            wanted = "a tool is strict" if rules is None else "tool_choice or parallel_tool_calls is a rule"
            text = f"constrain_tools is false and {wanted}, which only constrained calls keep; leave one out"
            raise Refusal(400, text, param="constrain_tools", code="invalid_value")
        return rules


def call_rules(
    choice: Literal["none", "auto", "required"] | NamedTool | AllowedTools | None,
    parallel: bool | None,
    names: Sequence[str],
) -> CallRules | None:
    """What tool_choice and parallel_tool_calls come to.

    names: of the tools.  Raises Refusal 400 for a choice that these do not have.
    """
    most = 1 if parallel is False else None
    rules = CallRules(most=most)
    match choice:
        case "none":
            rules = CallRules(most=0)
        case "required":
            rules = CallRules(required=True, most=most)
        case NamedTool():
            rules = CallRules(required=True, most=1, only=(choice.function.name,))
        case AllowedTools(allowed_tools=allowed):
            only = tuple(dict.fromkeys(tool.function.name for tool in allowed.tools))
            rules = CallRules(required=allowed.mode == "required", most=most, only=only)
    return checked_rules(rules, names)


def checked_rules(rules: CallRules, names: Sequence[str]) -> CallRules | None:
    """The rules, None where they leave all open.  Raises Refusal 400 for tools that are not among these."""
    known = set(names)
    unknown = [name for name in rules.only or () if name not in known]
    if unknown or (rules.required and not names):
        asked = repr(unknown[0]) if unknown else "a call"
        raise Refusal(
            400,
            f"tool_choice asks for {asked} and the tools are: {', '.join(names) or 'none'}",
            param="tool_choice",
        )
    return None if not names or rules == CallRules() else rules
