"""/v1/messages: Anthropic's API."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from gemcut.server.fields import read_fields
from gemcut.server.messages_fields import MessagesRequest
from tests.server.servers import PARIS, SUM, WEATHER, chunks, refusal

PATH = "/v1/messages"
TOOL = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": WEATHER["function"]["parameters"],  # type: ignore[index]
}
BASE: dict[str, Any] = {"model": "nano", "max_tokens": 200}


def ask(client: TestClient, **fields: Any) -> Any:
    answer = client.post(PATH, json=BASE | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_tool_is_called_and_its_result_answered(nano_client: TestClient) -> None:
    first = ask(nano_client, messages=PARIS, tools=[TOOL])
    assert first["stop_reason"] == "tool_use"
    (block,) = first["content"]
    assert (block["type"], block["name"], block["input"]) == ("tool_use", "get_weather", {"city": "Paris"})
    result = {"type": "tool_result", "tool_use_id": block["id"], "content": "18 C, sunny"}
    turns = [
        *PARIS,
        {"role": "assistant", "content": first["content"]},
        {"role": "user", "content": [result]},
    ]
    second = ask(nano_client, messages=turns, tools=[TOOL])
    assert second["stop_reason"] == "end_turn"
    assert "18" in second["content"][0]["text"]


def test_thoughts_are_blocks_of_their_own_and_go_back(nano_client: TestClient) -> None:
    said = [{"role": "user", "content": SUM}]
    answer = ask(nano_client, messages=said, thinking={"type": "enabled", "budget_tokens": 100})
    assert [block["type"] for block in answer["content"]] == ["thinking", "text"]
    assert "663" in answer["content"][0]["thinking"]
    assert "663" in answer["content"][1]["text"]
    said += [{"role": "assistant", "content": answer["content"]}, {"role": "user", "content": "And 1 + 1?"}]
    again = ask(nano_client, messages=said, thinking={"type": "disabled"})
    assert [block["type"] for block in again["content"]] == ["text"]


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": PARIS, "tools": [TOOL]},
        {"messages": [{"role": "user", "content": SUM}], "thinking": {"type": "adaptive"}},
        {"messages": PARIS, "system": "Be brief.", "max_tokens": 5},
    ],
)
def test_a_stream_adds_up_to_what_comes_without_streaming(
    nano_client: TestClient, fields: dict[str, Any]
) -> None:
    whole = ask(nano_client, **fields)
    stream = nano_client.post(PATH, json=BASE | fields | {"stream": True})
    events = chunks(stream.text)
    names = [line.removeprefix("event: ") for line in stream.text.splitlines() if line.startswith("event: ")]
    assert names == [event["type"] for event in events]
    assert (names[0], names[-1]) == ("message_start", "message_stop")
    blocks = [event["content_block"]["type"] for event in events if event["type"] == "content_block_start"]
    assert blocks == [block["type"] for block in whole["content"]]
    for kind in ("text", "thinking"):
        told = "".join(e["delta"].get(kind, "") for e in events if e["type"] == "content_block_delta")
        assert told == "".join(block.get(kind, "") for block in whole["content"])
    assert events[-2]["delta"]["stop_reason"] == whole["stop_reason"]
    assert events[-2]["usage"]["output_tokens"] == whole["usage"]["output_tokens"]


EFFORTS: list[tuple[dict[str, Any], bool]] = [
    ({"output_config": {"effort": "low"}}, True),
    ({"output_config": {"effort": "low"}, "thinking": {"type": "adaptive"}}, True),
    ({"output_config": {"effort": "high"}, "thinking": {"type": "disabled"}}, False),
    ({"output_config": {}}, False),
]


@pytest.mark.parametrize(("fields", "thinks"), EFFORTS)
def test_effort_asks_for_thoughts(nano_client: TestClient, fields: dict[str, Any], thinks: bool) -> None:
    """Alone it once did nothing; high beside disabled is the same as none, as Anthropic has it."""
    said = [{"role": "user", "content": SUM}]
    answer = ask(nano_client, messages=said, **fields)
    assert (answer["content"][0]["type"] == "thinking") == thinks
    counted = nano_client.post(f"{PATH}/count_tokens", json={"model": "nano", "messages": said, **fields})
    usage = answer["usage"]
    assert counted.json()["input_tokens"] == usage["input_tokens"] + usage["cache_read_input_tokens"]


@pytest.mark.parametrize(
    ("effort", "budget", "most"),
    [("low", None, 1024), ("low", 5, 5), ("medium", 9000, 4096), ("high", 32000, 32000), ("max", None, None)],
)
def test_of_effort_and_budget_the_smaller_limit_counts(
    effort: str, budget: int | None, most: int | None
) -> None:
    thinking = {"type": "adaptive"} if budget is None else {"type": "enabled", "budget_tokens": budget}
    given = {"messages": PARIS, "thinking": thinking, "output_config": {"effort": effort}}
    assert read_fields(MessagesRequest, BASE | given).thoughts == (True, most)


def test_effort_without_thoughts_is_refused_by_its_name(nano_client: TestClient) -> None:
    for path in (PATH, f"{PATH}/count_tokens"):
        fields = {"model": "nano", "messages": PARIS, "thinking": {"type": "disabled"}}
        fields |= {"max_tokens": 9} if path == PATH else {}
        status, error = refusal(nano_client, path, **fields, output_config={"effort": "low"})
        assert status == 400
        assert error["message"].startswith("output_config.effort asks for thoughts")


def test_a_stop_sequence_is_named(nano_client: TestClient) -> None:
    answer = ask(nano_client, messages=[{"role": "user", "content": SUM}], stop_sequences=["zzz", "+"])
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("stop_sequence", "+")
    assert "+" not in answer["content"][0]["text"]
    cut = ask(nano_client, messages=PARIS, max_tokens=1)
    assert (cut["stop_reason"], cut["stop_sequence"]) == ("max_tokens", None)


def test_what_is_cached_is_counted_apart(nano_client: TestClient) -> None:
    said = [{"role": "user", "content": [{"type": "text", "text": "A long story of a cat. " * 12,
                                          "cache_control": {"type": "ephemeral"}}]}]  # fmt: skip
    counted = nano_client.post(f"{PATH}/count_tokens", json={"model": "nano", "messages": said}).json()
    first = ask(nano_client, messages=said, max_tokens=1)["usage"]
    second = ask(nano_client, messages=said, max_tokens=1)["usage"]
    assert first["input_tokens"] == counted["input_tokens"]
    assert second["cache_read_input_tokens"] > 50
    assert second["cache_read_input_tokens"] + second["input_tokens"] == counted["input_tokens"]


@pytest.mark.parametrize(
    ("choice", "calls"),
    [({"type": "none"}, False), ({"type": "any"}, True), ({"type": "tool", "name": "get_weather"}, True)],
)
def test_tool_choice_is_kept(nano_client: TestClient, choice: dict[str, Any], calls: bool) -> None:
    said = PARIS if choice["type"] == "none" else [{"role": "user", "content": "Hello"}]
    answer = ask(nano_client, messages=said, tools=[TOOL], tool_choice=choice)
    assert any(block["type"] == "tool_use" for block in answer["content"]) == calls


def test_a_schema_is_kept(nano_client: TestClient) -> None:
    schema = {"type": "object", "properties": {"n": {"const": 7}}, "required": ["n"]}
    config = {"format": {"type": "json_schema", "schema": schema}}
    answer = ask(nano_client, messages=PARIS, output_config=config)
    assert answer["content"][0]["text"].replace(" ", "") == '{"n":7}'


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": None},
        {"messages": [{"role": "system", "content": "x"}]},
        {"messages": PARIS, "top_k": 0},
        {"messages": PARIS, "mcp_servers": [{"name": "x"}]},
        {"messages": PARIS, "tool_choice": {"type": "any"}},
        {"messages": PARIS, "tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"messages": [{"role": "user", "content": [{"type": "document"}]}]},
        {"messages": PARIS, "frequency_penalty": 1},
    ],
)
def test_what_cannot_be_honoured_is_refused(nano_client: TestClient, fields: dict[str, Any]) -> None:
    status, error = refusal(nano_client, PATH, **(BASE | {"messages": PARIS} | fields))
    assert status == 400
    assert error["type"] == "invalid_request_error"
