"""The request of /v1/responses."""

from typing import Annotated, Any, Literal

from pydantic import Field

from gemcut.prompt.tool_grammar import CallRules
from gemcut.server.chat_fields import AllowedSet, AllowedTools, Name, NamedTool, call_rules
from gemcut.server.fields import Fields, Refused
from gemcut.server.refusal import Refusal
from gemcut.server.response_items import Item
from gemcut.server.sampling_fields import within
from gemcut.server.thinking import Effort


class ResponseTool(Fields):
    """A function that the model may call."""

    type: Literal["function"]
    name: Annotated[str, Field(min_length=1)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedFunction(Fields):
    """One tool."""

    type: Literal["function"]
    name: str


class AllowedFunctions(Fields):
    """Some of the tools, of which the model may or must call one."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedFunction], Field(min_length=1)]


class TextFormat(Fields):
    """Free text, or any JSON object."""

    type: Literal["text", "json_object"]


class SchemaFormat(Fields):
    """JSON that follows a schema, strict or not."""

    type: Literal["json_schema"]
    name: str
    description: str | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


class TextOptions(Fields):
    """What the answer follows."""

    format: Annotated[TextFormat | SchemaFormat, Field(discriminator="type")] | None = None
    refused = {"verbosity": Refused("Gemma 4 has no such switch; say it in the instructions", ("medium",))}


class ReasoningOptions(Fields):
    """effort: how much the model thinks."""

    effort: Effort | None = None
    refused = {
        "summary": Refused("thoughts are given whole", ("auto",)),
        "generate_summary": Refused("thoughts are given whole", ("auto",)),
    }


class StreamOptions(Fields):
    """Nothing can be chosen."""

    refused = {"include_obfuscation": Refused("events are not padded", (False,))}


class ConversationName(Fields):
    """A stored conversation."""

    id: str


Choice = Annotated[NamedFunction | AllowedFunctions, Field(discriminator="type")]
Metadata = Annotated[dict[str, Annotated[str, Field(max_length=512)]], Field(max_length=16)]


class ResponseRequest(Fields):
    """What is to be answered."""

    model: str | None = None
    input: str | Annotated[list[Item], Field(min_length=1)]
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: str | ConversationName | None = None
    max_output_tokens: Annotated[int, within("max_tokens")] | None = None
    temperature: Annotated[float, within("temperature")] | None = None
    top_p: Annotated[float, within("top_p")] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    include: list[Literal["reasoning.encrypted_content", "message.output_text.logprobs"]] | None = None
    tools: list[ResponseTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | Choice | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    metadata: Metadata | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    refused = {
        "background": Refused("responses are made while somebody waits; stream them", (False,)),
        "max_tool_calls": Refused("this server calls no tools itself"),
        "prompt": Refused("this server keeps no prompt templates"),
        "prompt_cache_retention": Refused("prompts are kept as long as there is room", ("in_memory",)),
        "service_tier": Refused("there is one tier", ("auto", "default")),
        "truncation": Refused("prompts are read whole or not at all", ("disabled",)),
        "context_management": Refused("prompts are read as they are"),
    }

    @property
    def items(self) -> list[dict[str, Any]]:
        """The input as items."""
        if isinstance(self.input, str):
            return [{"type": "message", "role": "user", "content": self.input}]
        return [item.model_dump(exclude_none=True) for item in self.input]

    @property
    def conversation_id(self) -> str | None:
        """The stored conversation that this goes on with.  Raises Refusal beside previous_response_id."""
        if self.conversation is None:
            return None
        if self.previous_response_id is not None:
            raise Refusal(
                400, "give either conversation or previous_response_id, not both", param="conversation"
            )
        return self.conversation if isinstance(self.conversation, str) else self.conversation.id

    @property
    def schema_asked(self) -> dict[str, Any] | None:
        """What the answer must follow."""
        wanted = None if self.text is None else self.text.format
        if isinstance(wanted, SchemaFormat):
            return wanted.schema_
        return {"type": "object"} if wanted is not None and wanted.type == "json_object" else None

    @property
    def num_logprobs(self) -> int | None:
        """Of how many likeliest tokens log probabilities are wanted; None for none at all."""
        if self.include is not None and "message.output_text.logprobs" in self.include:
            return 0 if self.top_logprobs is None else self.top_logprobs
        return self.top_logprobs if self.top_logprobs else None

    @property
    def call_rules(self) -> CallRules | None:
        """Which calls there may be."""
        choice, names = self.tool_choice, [tool.name for tool in self.tools or ()]
        if isinstance(choice, NamedFunction):
            return call_rules(_named(choice), self.parallel_tool_calls, names)
        if isinstance(choice, AllowedFunctions):
            allowed = AllowedSet(mode=choice.mode, tools=[_named(tool) for tool in choice.tools])
            whole = AllowedTools(type="allowed_tools", allowed_tools=allowed)
            return call_rules(whole, self.parallel_tool_calls, names)
        return call_rules(choice, self.parallel_tool_calls, names)


def _named(tool: NamedFunction) -> NamedTool:
    return NamedTool(type="function", function=Name(name=tool.name))
