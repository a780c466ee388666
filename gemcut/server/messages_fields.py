"""The requests of /v1/messages and /v1/messages/count_tokens: Anthropic's API."""

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from gemcut.prompt.tool_grammar import CallRules
from gemcut.server.chat_fields import checked_rules
from gemcut.server.fields import Fields, Refused
from gemcut.server.sampling_fields import Stops, Text, within
from gemcut.server.thinking import Effort, thinking

EFFORTS: dict[str, Effort] = {
    "low": "low",
    "medium": "medium",
    "high": "xhigh",  # the same as none given, as Anthropic has it: no limit
    "xhigh": "xhigh",
    "max": "xhigh",
}


class CacheControl(Fields):
    """A wish that the prompt up to here be kept: every beginning of a prompt is, as long as there is room."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class Block(Fields):
    """What all blocks may have."""

    cache_control: CacheControl | None = None


class TextBlock(Block):
    """A stretch of text."""

    type: Literal["text"]
    text: str
    refused = {"citations": Refused("there are none here", ([],))}


class ImageData(Fields):
    """An image in base64."""

    type: Literal["base64"]
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: str


class ImageUrl(Fields):
    """Where an image is."""

    type: Literal["url"]
    url: str


class ImageBlock(Block):
    """An image."""

    type: Literal["image"]
    source: Annotated[ImageData | ImageUrl, Field(discriminator="type")]


Shown = Annotated[TextBlock | ImageBlock, Field(discriminator="type")]


class ToolUseBlock(Block):
    """A call that the model made."""

    type: Literal["tool_use"]
    id: str
    name: Text
    input: dict[str, Any]
    refused = {"caller": Refused("only the model calls", ({"type": "direct"},))}


class ToolResultBlock(Block):
    """What came of a call."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: str | list[Shown] | None = None
    is_error: bool | None = None


class ThinkingBlock(Fields):
    """What the model thought; the signature proves nothing here and is not checked."""

    type: Literal["thinking"]
    thinking: str
    signature: str | None = None


class UserTurn(Fields):
    """What a person says and shows, and what tools gave."""

    role: Literal["user"]
    content: str | list[Annotated[TextBlock | ImageBlock | ToolResultBlock, Field(discriminator="type")]]


class AssistantTurn(Fields):
    """What the model said before."""

    role: Literal["assistant"]
    content: str | list[Annotated[TextBlock | ToolUseBlock | ThinkingBlock, Field(discriminator="type")]]


Turn = Annotated[UserTurn | AssistantTurn, Field(discriminator="role")]


class MessagesTool(Block):
    """A function that the model may call."""

    type: Literal["custom"] | None = None
    name: Text
    description: str | None = None
    input_schema: dict[str, Any]
    strict: bool | None = None


class AnyChoice(Fields):
    """Whether calls may, must or must not be."""

    type: Literal["auto", "any", "none"]
    disable_parallel_tool_use: bool | None = None


class OneChoice(Fields):
    """Which tool must be called."""

    type: Literal["tool"]
    name: str
    disable_parallel_tool_use: bool | None = None


class ThinkingOn(Fields):
    """Think, within a budget."""

    type: Literal["enabled"]
    budget_tokens: Annotated[int, within("max_thought_tokens")]
    refused = {"display": Refused("thoughts are always shown", ("summarized",))}


class ThinkingFree(Fields):
    """Think or do not: the model's own choice, and without a budget."""

    type: Literal["adaptive", "disabled"]
    refused = {"display": Refused("thoughts are always shown", ("summarized",))}


class OutputFormat(Fields):
    """JSON that follows a schema."""

    type: Literal["json_schema"]
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class OutputConfig(Fields):
    """effort: how much the model thinks.  format: what its answer follows."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


class Metadata(Fields):
    """user_id: for the log."""

    user_id: str | None = None


class CountRequest(Fields):
    """What is read; how many tokens is that?"""

    model: str
    messages: Annotated[list[Turn], Field(min_length=1)]
    system: str | list[TextBlock] | None = None
    tools: list[MessagesTool] | None = None
    tool_choice: Annotated[AnyChoice | OneChoice, Field(discriminator="type")] | None = None
    thinking: Annotated[ThinkingOn | ThinkingFree, Field(discriminator="type")] | None = None
    output_config: OutputConfig | None = None
    cache_control: CacheControl | None = None
    refused = {
        "mcp_servers": Refused("this server calls no tools itself", ([],)),
        "context_management": Refused("prompts are read as they are"),
        "container": Refused("this server runs no code"),
    }

    @property
    def thoughts(self) -> tuple[bool, int | None]:
        """Whether the model thinks, and the most tokens of that.  Raises Refusal 400 as `thinking` does."""
        effort = None if self.output_config is None else self.output_config.effort
        enabled = None if self.thinking is None else self.thinking.type != "disabled"
        if enabled is False and effort == "high":
            effort = None
        budget = self.thinking.budget_tokens if isinstance(self.thinking, ThinkingOn) else None
        known = None if effort is None else EFFORTS[effort]
        return thinking(known, enabled, budget, "output_config.effort")

    @property
    def call_rules(self) -> CallRules | None:
        """Which calls there may be.  Raises Refusal 400 for tools that are not there."""
        choice = self.tool_choice
        if choice is None:
            return None
        rules = CallRules(most=1 if choice.disable_parallel_tool_use else None)
        if isinstance(choice, OneChoice):
            rules = CallRules(required=True, most=1, only=(choice.name,))
        elif choice.type == "none":
            rules = CallRules(most=0)
        elif choice.type == "any":
            rules = replace(rules, required=True)
        return checked_rules(rules, [tool.name for tool in self.tools or ()])


class MessagesRequest(CountRequest):
    """A conversation to be answered."""

    max_tokens: Annotated[int, within("max_tokens")]
    stop_sequences: Stops | None = None
    stream: bool | None = None
    temperature: Annotated[float, within("temperature")] | None = None
    top_k: Annotated[int, within("top_k")] | None = None
    top_p: Annotated[float, within("top_p")] | None = None
    metadata: Metadata | None = None
    refused = CountRequest.refused | {
        "service_tier": Refused("there is one tier", ("auto", "standard_only")),
        "inference_geo": Refused("the model runs where this server does"),
    }
