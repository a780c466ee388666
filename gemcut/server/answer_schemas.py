"""The JSON schemas of answers, for /openapi.json; the tests hold what is served against them."""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
NULL: Schema = {"type": "null"}
ANY_OBJECT: Schema = {"type": "object"}


def one_of(*values: Any) -> Schema:
    """One of these values."""
    return {"enum": list(values)}


def or_null(schema: Schema) -> Schema:
    """The schema, or nothing."""
    return {"anyOf": [schema, NULL]}


def either(*schemas: Schema) -> Schema:
    """Any of these."""
    return {"anyOf": list(schemas)}


def array(items: Schema) -> Schema:
    """A list of them."""
    return {"type": "array", "items": items}


def record(*may_lack: str, **properties: Schema) -> Schema:
    """An object with these properties and no others."""
    required = [name for name in properties if name not in may_lack]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


OPENAI_ERROR = record(
    error=record(message=TEXT, type=TEXT, param=or_null(TEXT), code=or_null(TEXT)),
)
ANTHROPIC_ERROR = record(type=one_of("error"), error=record(type=TEXT, message=TEXT), request_id=TEXT)
FINISH = one_of("stop", "length", "tool_calls")
_ENTRY = {"token": TEXT, "logprob": NUMBER, "bytes": array(COUNT)}
LOGPROB = record(**_ENTRY, top_logprobs=array(record(**_ENTRY)))
CALL = record(id=TEXT, type=one_of("function"), function=record(name=TEXT, arguments=TEXT))
_CACHED = record(cached_tokens=COUNT)

CHAT = record(
    id=TEXT,
    object=one_of("chat.completion"),
    created=COUNT,
    model=TEXT,
    choices=array(
        record(
            index=COUNT,
            message=record(
                "reasoning", "reasoning_content", "tool_calls",
                role=one_of("assistant"), content=or_null(TEXT), refusal=NULL,
                reasoning=TEXT, reasoning_content=TEXT, tool_calls=array(CALL),
            ),
            logprobs=or_null(record(content=array(LOGPROB), refusal=NULL)),
            finish_reason=FINISH,
        )
    ),
    usage=record(
        prompt_tokens=COUNT,
        completion_tokens=COUNT,
        total_tokens=COUNT,
        prompt_tokens_details=_CACHED,
        completion_tokens_details=record(reasoning_tokens=COUNT),
    ),
)  # fmt: skip

COMPLETION = record(
    id=TEXT,
    object=one_of("text_completion"),
    created=COUNT,
    model=TEXT,
    choices=array(
        record(
            index=COUNT,
            text=TEXT,
            logprobs=or_null(
                record(
                    tokens=array(TEXT),
                    token_logprobs=array(or_null(NUMBER)),
                    top_logprobs=array(or_null({"type": "object", "additionalProperties": NUMBER})),
                    text_offset=array(COUNT),
                )
            ),
            finish_reason=FINISH,
        )
    ),
    usage=record(
        prompt_tokens=COUNT, completion_tokens=COUNT, total_tokens=COUNT, prompt_tokens_details=_CACHED
    ),
)

MESSAGE = record(
    id=TEXT,
    type=one_of("message"),
    role=one_of("assistant"),
    model=TEXT,
    content=array(
        either(
            record(type=one_of("text"), text=TEXT),
            record(type=one_of("thinking"), thinking=TEXT, signature=TEXT),
            record(type=one_of("tool_use"), id=TEXT, name=TEXT, input=ANY_OBJECT),
        )
    ),
    stop_reason=one_of("end_turn", "max_tokens", "stop_sequence", "tool_use"),
    stop_sequence=or_null(TEXT),
    usage=record(
        input_tokens=COUNT,
        cache_creation_input_tokens=COUNT,
        cache_read_input_tokens=COUNT,
        output_tokens=COUNT,
    ),
)
COUNTED = record(input_tokens=COUNT)

_STATUS = one_of("completed", "incomplete")
ITEM = either(
    record(
        id=TEXT, type=one_of("message"), role=one_of("assistant"), status=_STATUS,
        content=array(record(
            type=one_of("output_text"), text=TEXT, annotations=array(ANY_OBJECT), logprobs=array(LOGPROB)
        )),
    ),
    record(
        id=TEXT, type=one_of("reasoning"), summary=array(ANY_OBJECT), status=_STATUS,
        content=array(record(type=one_of("reasoning_text"), text=TEXT)),
    ),
    record(
        id=TEXT, type=one_of("function_call"), call_id=TEXT, name=TEXT, arguments=TEXT, status=_STATUS
    ),
)  # fmt: skip
RESPONSE = record(
    "completed_at",
    id=TEXT,
    object=one_of("response"),
    created_at=COUNT,
    completed_at=COUNT,
    status=one_of("completed", "incomplete"),
    background=one_of(False),
    error=NULL,
    incomplete_details=or_null(record(reason=one_of("max_output_tokens"))),
    output=array(ITEM),
    usage=record(
        input_tokens=COUNT,
        input_tokens_details=_CACHED,
        output_tokens=COUNT,
        output_tokens_details=record(reasoning_tokens=COUNT),
        total_tokens=COUNT,
    ),
    model=TEXT,
    instructions=or_null(TEXT),
    max_output_tokens=or_null(COUNT),
    metadata=ANY_OBJECT,
    parallel_tool_calls=FLAG,
    previous_response_id=or_null(TEXT),
    conversation=or_null(record(id=TEXT)),
    reasoning=record(effort=or_null(TEXT), summary=NULL),
    store=FLAG,
    temperature=or_null(NUMBER),
    text=ANY_OBJECT,
    tool_choice=either(TEXT, ANY_OBJECT),
    tools=array(ANY_OBJECT),
    top_logprobs=COUNT,
    top_p=or_null(NUMBER),
    truncation=one_of("disabled"),
    user=or_null(TEXT),
)
TRANSCRIPT = either(
    record(
        text=TEXT,
        usage=record(
            type=one_of("tokens"),
            input_tokens=COUNT,
            input_token_details=record(audio_tokens=COUNT, text_tokens=COUNT),
            output_tokens=COUNT,
            total_tokens=COUNT,
        ),
    ),
    record(
        task=one_of("transcribe"),
        language=or_null(TEXT),
        duration=NUMBER,
        text=TEXT,
        segments=array(record(id=COUNT, seek=COUNT, start=NUMBER, end=NUMBER, text=TEXT, temperature=NUMBER)),
        usage=record(type=one_of("duration"), seconds=COUNT),
    ),
)
CONVERSATION = record(id=TEXT, object=one_of("conversation"), created_at=COUNT, metadata=ANY_OBJECT)
ITEMS = record(
    object=one_of("list"),
    data=array(ANY_OBJECT),
    has_more=FLAG,
    first_id=or_null(TEXT),
    last_id=or_null(TEXT),
)
DELETED = record(id=TEXT, object=TEXT, deleted=one_of(True))

TOKENIZED = record(count=COUNT, max_model_len=COUNT, tokens=array(COUNT), token_strs=or_null(array(TEXT)))
DETOKENIZED = record(prompt=TEXT)
MODEL = record(
    id=TEXT,
    object=one_of("model"),
    type=one_of("model"),
    display_name=TEXT,
    created=COUNT,
    created_at=TEXT,
    owned_by=TEXT,
    max_model_len=COUNT,
    input_modalities=array(one_of("text", "image", "video", "audio")),
    aliases=array(TEXT),
)
MODELS = record(object=one_of("list"), data=array(MODEL), has_more=one_of(False), first_id=TEXT, last_id=TEXT)
HEALTH = record(status=one_of("ok"))
VERSION = record(version=TEXT)
