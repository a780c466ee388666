"""Real clients against a real `gemcut serve nano`."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pydantic
import pytest

from tests.media.makers import sine, sound_file
from tests.server.programs import Program
from tests.server.servers import PARIS, SUM, WEATHER

TIME = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "Get the current time in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
pytestmark = pytest.mark.usefixtures("nano")


@pytest.fixture(scope="module")
def ask(program: Program) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{program.url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def claude(program: Program) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=program.url, api_key="any", max_retries=0) as client:
        yield client


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_openai_lists_models(ask: openai.OpenAI) -> None:
    assert [model.id for model in ask.models.list()] == ["nano"]
    assert ask.models.retrieve("nano").owned_by == "google"


def test_openai_answers_and_streams(ask: openai.OpenAI) -> None:
    whole = ask.chat.completions.create(model="nano", messages=said(SUM), reasoning_effort="low")
    assert "663" in str(whole.choices[0].message.content)
    with ask.chat.completions.stream(model="nano", messages=said(SUM), reasoning_effort="low") as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert final.choices[0].message.content == whole.choices[0].message.content


def test_openai_has_a_recording_written_down(ask: openai.OpenAI) -> None:
    """What nano hears in a tone is not asked; before it hears at all it says so."""
    make, file = ask.audio.transcriptions.create, sound_file(sine(40))
    if "audio" not in ask.models.retrieve("nano").input_modalities:  # type: ignore[attr-defined]
        with pytest.raises(openai.BadRequestError, match="does not hear"):
            make(file=file, model="nano")
        return
    whole = make(file=file, model="nano", language="en")
    events = list(make(file=file, model="nano", language="en", stream=True))
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == whole.text
    verbose = make(file=file, model="nano", response_format="verbose_json")
    assert (verbose.duration, len(verbose.segments or [])) == (40, 2)


def test_openai_parses_a_model_of_ours(ask: openai.OpenAI) -> None:
    class Sum(pydantic.BaseModel):
        a: int
        b: int
        ok: bool

    done = ask.chat.completions.parse(model="nano", messages=said(SUM), response_format=Sum)
    assert isinstance(done.choices[0].message.parsed, Sum)
    response = ask.responses.parse(model="nano", input=SUM, text_format=Sum)
    assert isinstance(response.output_parsed, Sum)


def test_openai_runs_a_loop_of_tools(ask: openai.OpenAI) -> None:
    """In one conversation two tools are called, and the answers come from their results."""
    results = {"get_weather": "18 C, sunny", "get_time": "14:35"}
    tools: Any = [WEATHER, TIME]
    messages: Any = []
    for question, tool, city, part in (
        ("What is the weather in Paris?", "get_weather", "Paris", "18"),
        ("What time is it in Rome?", "get_time", "Rome", "14:35"),
    ):
        messages += said(question)
        message = ask.chat.completions.create(model="nano", messages=messages, tools=tools).choices[0].message
        assert message.tool_calls
        call = message.tool_calls[0]
        assert call.type == "function"
        assert (call.function.name, json.loads(call.function.arguments)) == (tool, {"city": city})
        messages += [message, {"role": "tool", "tool_call_id": call.id, "content": results[tool]}]
        answer = ask.chat.completions.create(model="nano", messages=messages, tools=tools).choices[0].message
        assert part in str(answer.content)
        messages.append(answer)


def test_openai_streams_calls_and_usage(ask: openai.OpenAI) -> None:
    with ask.chat.completions.stream(
        model="nano",
        messages=PARIS,
        tools=[WEATHER],
        stream_options={"include_usage": True},  # type: ignore[arg-type, list-item]
    ) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "tool_calls.function.arguments.done" in kinds
    calls = final.choices[0].message.tool_calls
    assert calls
    assert json.loads(calls[0].function.arguments) == {"city": "Paris"}
    assert final.usage
    assert final.usage.completion_tokens > 5


def test_openai_s_responses_stream_and_go_on(ask: openai.OpenAI) -> None:
    with ask.responses.stream(model="nano", input=SUM, reasoning={"effort": "low"}) as stream:
        kinds = [event.type for event in stream]
        first = stream.get_final_response()
    assert {"response.reasoning_text.delta", "response.output_text.delta"} <= set(kinds)
    assert "663" in first.output_text
    second = ask.responses.create(model="nano", input="And 1 + 1?", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert ask.responses.retrieve(second.id).output_text == second.output_text
    talk = ask.conversations.create(items=[{"type": "message", "role": "user", "content": "Hello"}])
    ask.responses.create(model="nano", input=SUM, conversation=talk.id)
    assert len(list(ask.conversations.items.list(talk.id, limit=2))) == 3
    ask.responses.delete(second.id)
    with pytest.raises(openai.NotFoundError):
        ask.responses.retrieve(second.id)


def test_openai_s_errors_are_of_their_kinds(ask: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        ask.chat.completions.create(model="nano", messages=PARIS, extra_body={"temprature": 1})  # type: ignore[arg-type]
    assert (bad.value.param, bad.value.code) == ("temprature", "unknown_field")
    with pytest.raises(openai.NotFoundError):
        ask.chat.completions.create(model="gpt-4o", messages=PARIS)  # type: ignore[arg-type]
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    with pytest.raises(openai.UnprocessableEntityError, match="no image that can be read"):
        ask.chat.completions.create(model="nano", messages=[{"role": "user", "content": [picture]}])  # type: ignore[list-item, misc]


def test_openai_completes(ask: openai.OpenAI) -> None:
    done = ask.completions.create(model="nano", prompt="Hello", max_tokens=5, logprobs=1, echo=True)
    assert done.choices[0].text.startswith("Hello")
    streamed = ask.completions.create(model="nano", prompt="Hello", max_tokens=5, stream=True)
    text = "".join(chunk.choices[0].text for chunk in streamed)
    assert "Hello" + text == done.choices[0].text


TOOL: Any = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": WEATHER["function"]["parameters"],  # type: ignore[index]
}


def test_anthropic_answers_streams_and_counts(claude: anthropic.Anthropic) -> None:
    fields: Any = {"model": "nano", "messages": said(SUM)}
    fields |= {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000}
    whole = claude.messages.create(**fields)
    assert [block.type for block in whole.content] == ["thinking", "text"]
    with claude.messages.stream(**fields) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert "663" in text
    assert final.stop_reason == "end_turn"
    counted = claude.messages.count_tokens(model="nano", messages=said(SUM), thinking=fields["thinking"])
    usage = final.usage
    assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)


def test_anthropic_runs_a_loop_of_tools(claude: anthropic.Anthropic) -> None:
    messages: Any = list(PARIS)
    first = claude.messages.create(model="nano", max_tokens=100, messages=messages, tools=[TOOL])
    assert first.stop_reason == "tool_use"
    call = first.content[-1]
    assert call.type == "tool_use"
    assert call.input == {"city": "Paris"}
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "18 C"}]}
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = claude.messages.create(model="nano", max_tokens=100, messages=messages, tools=[TOOL])
    assert second.content[0].type == "text"
    assert "18" in second.content[0].text


def test_anthropic_s_errors_are_of_their_kinds(claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="top_k"):
        claude.messages.create(model="nano", max_tokens=9, messages=said("x"), extra_body={"top_k": 0})
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model="claude", max_tokens=9, messages=said("x"))
