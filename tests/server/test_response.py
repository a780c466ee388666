"""/v1/responses and /v1/conversations: answers that clients come back to."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from gemcut import Gemma
from gemcut.server.app import build_app
from gemcut.server.response_events import ResponseEvents
from tests.server.servers import ADD, SUM, WEATHER, chunks, client_of, refusal, serving_of

PATH = "/v1/responses"
TOOLS = [{"type": "function", **tool["function"]} for tool in (WEATHER, ADD)]  # type: ignore[dict-item]
PARIS = "What is the weather in Paris?"


def ask(client: TestClient, **fields: Any) -> Any:
    answer = client.post(PATH, json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def text_of(response: Any) -> str:
    return "".join(
        part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"]
    )


def bare(item: Any) -> dict[str, Any]:
    """An item without its ids; of log probabilities, which batches round differently, the tokens."""
    kept = {name: value for name, value in item.items() if "id" not in name}
    for part in item.get("content", ()):
        tokens = [entry["token"] for entry in part.get("logprobs", ())]
        kept["content"] = [{**part, "logprobs": tokens}]
    return kept


def test_a_response_can_be_gone_on_with(nano_client: TestClient) -> None:
    first = ask(nano_client, input="My name is Ada.", instructions="Be brief.")
    second = ask(nano_client, input=SUM, previous_response_id=first["id"])
    third = ask(nano_client, input="And now?", previous_response_id=second["id"], max_output_tokens=5)
    assert "663" in text_of(second)
    sizes = [response["usage"]["input_tokens"] for response in (first, second, third)]
    assert sizes == sorted(set(sizes))
    assert second["previous_response_id"] == first["id"]
    by_hand = [
        {"role": "user", "content": "My name is Ada."},
        *first["output"],
        {"role": "user", "content": SUM},
    ]
    assert ask(nano_client, input=by_hand)["usage"]["input_tokens"] == sizes[1]  # instructions do not go on


def test_a_stored_response_can_be_read_and_forgotten(nano_client: TestClient) -> None:
    made = ask(nano_client, input="Hello", metadata={"a": "b"}, max_output_tokens=3)
    place = f"{PATH}/{made['id']}"
    assert nano_client.get(place).json() == made
    streamed = nano_client.get(place, params={"stream": "true"})
    assert (streamed.status_code, streamed.json()["error"]["param"]) == (400, "stream")
    items = nano_client.get(f"{place}/input_items").json()
    assert [item["content"] for item in items["data"]] == ["Hello"]
    assert nano_client.delete(place).json()["deleted"] is True
    assert nano_client.get(place).status_code == 404
    assert refusal(nano_client, PATH, input="x", previous_response_id=made["id"])[0] == 404


def test_what_is_not_to_be_stored_is_not(nano_client: TestClient) -> None:
    made = ask(nano_client, input="Hello", store=False, max_output_tokens=3)
    assert nano_client.get(f"{PATH}/{made['id']}").status_code == 404


def test_the_oldest_go_when_there_is_no_room(tiny: Gemma) -> None:
    client = client_of(tiny, "tiny", most_stored_bytes=20_000)
    names = [ask(client, input=f"Hello {number}", max_output_tokens=2)["id"] for number in range(8)]
    kept = [name for name in names if client.get(f"{PATH}/{name}").status_code == 200]
    assert 1 <= len(kept) < 8
    assert kept == names[-len(kept) :]


def test_calls_and_their_outputs_are_items(nano_client: TestClient) -> None:
    first = ask(nano_client, input=PARIS, tools=TOOLS)
    (call,) = first["output"]
    assert (call["type"], call["name"], call["arguments"]) == (
        "function_call",
        "get_weather",
        '{"city":"Paris"}',
    )
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "18 C, sunny"}
    second = ask(nano_client, input=[output], previous_response_id=first["id"], tools=TOOLS)
    assert "18" in text_of(second)
    stateless = ask(nano_client, input=[{"role": "user", "content": PARIS}, call, output], tools=TOOLS)
    assert text_of(stateless) == text_of(second)


@pytest.mark.parametrize(
    "fields",
    [
        {"input": SUM, "reasoning": {"effort": "low"}},
        {"input": PARIS, "tools": TOOLS},
        {"input": SUM, "max_output_tokens": 4, "top_logprobs": 2},
    ],
)
def test_a_stream_adds_up_to_what_comes_without_streaming(
    nano_client: TestClient, fields: dict[str, Any]
) -> None:
    whole = ask(nano_client, **fields)
    stream = nano_client.post(PATH, json=fields | {"stream": True})
    events = chunks(stream.text)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[0]["type"] == "response.created"
    assert events[-1]["type"] == f"response.{whole['status']}"
    last = events[-1]["response"]
    assert [bare(item) for item in last["output"]] == [bare(item) for item in whole["output"]]
    for number, item in enumerate(last["output"]):
        told = "".join(
            event["delta"] for event in events
            if event["type"].endswith(".delta") and event["output_index"] == number
        )  # fmt: skip
        assert told == (item["arguments"] if "arguments" in item else item["content"][0]["text"])
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == last["output"]


def test_a_cut_answer_is_incomplete_and_says_why(nano_client: TestClient) -> None:
    made = ask(nano_client, input=SUM, max_output_tokens=3)
    assert made["status"] == "incomplete"
    assert made["incomplete_details"] == {"reason": "max_output_tokens"}
    assert made["output"][0]["status"] == "incomplete"


def test_a_conversation_grows(nano_client: TestClient) -> None:
    begun = [{"role": "user", "content": "My name is Ada."}, {"role": "assistant", "content": "Hello."}]
    talk = nano_client.post("/v1/conversations", json={"items": begun, "metadata": {"a": "b"}}).json()
    place = f"/v1/conversations/{talk['id']}"
    made = ask(nano_client, input=SUM, conversation=talk["id"])
    assert "663" in text_of(made)
    items = nano_client.get(f"{place}/items?order=asc&limit=10").json()
    assert [item["role"] for item in items["data"]] == ["user", "assistant", "user", "assistant"]
    assert items["data"][-1] == made["output"][0]
    rest = nano_client.get(f"{place}/items?order=asc&limit=1&after={items['data'][1]['id']}").json()
    assert (rest["data"], rest["has_more"]) == ([items["data"][2]], True)
    again = ask(nano_client, input="And now?", conversation={"id": talk["id"]}, max_output_tokens=3)
    assert again["usage"]["input_tokens"] > made["usage"]["input_tokens"]
    changed = nano_client.post(place, json={"metadata": {"c": "d"}}).json()
    assert changed == talk | {"metadata": {"c": "d"}} == nano_client.get(place).json()
    more = nano_client.post(f"{place}/items", json={"items": [{"role": "user", "content": "x"}]}).json()
    assert more["data"][0]["content"] == "x"
    assert nano_client.delete(place).json()["deleted"] is True
    assert nano_client.get(f"{place}/items").status_code == 404


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": "x", "background": True}, "background"),
        ({"input": "x", "truncation": "auto"}, "truncation"),
        ({"input": "x", "tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"input": "x", "conversation": "c", "previous_response_id": "r"}, "conversation"),
        ({"input": [{"type": "computer_call"}]}, "input[0]"),
        ({"input": [{"type": "item_reference", "id": "msg_x"}]}, "input"),
        (
            {
                "input": [
                    {"role": "assistant", "content": [{"type": "input_image", "image_url": "data:,x"}]},
                    {"role": "user", "content": "x"},
                ]
            },
            "input",
        ),
        ({"input": "x", "tool_choice": {"type": "function", "name": "f"}}, "tool_choice"),
        ({"input": "x", "temperture": 1}, "temperture"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_its_name(
    nano_client: TestClient, fields: dict[str, Any], param: str
) -> None:
    status, error = refusal(nano_client, PATH, **fields)
    assert (status, error["param"]) == (404 if "item_reference" in str(fields) else 400, param)


def test_a_reference_stands_for_the_item_wherever_it_is_given(nano_client: TestClient) -> None:
    """A conversation once kept the reference itself, and the next response met a KeyError."""
    made = ask(nano_client, input="Hello", max_output_tokens=3)
    reference = {"type": "item_reference", "id": made["output"][0]["id"]}
    talk = nano_client.post("/v1/conversations", json={"items": [reference]}).json()
    items = nano_client.get(f"/v1/conversations/{talk['id']}/items").json()["data"]
    assert items == made["output"]
    again = ask(nano_client, input=[reference, {"role": "user", "content": "Go on."}], max_output_tokens=3)
    assert again["usage"]["input_tokens"] > made["usage"]["input_tokens"]
    unknown = {"items": [{"type": "item_reference", "id": "msg_unknown"}]}
    assert nano_client.post("/v1/conversations", json=unknown).status_code == 404


def test_a_conversation_that_is_deleted_meanwhile_costs_nobody_the_answer(
    tiny: Gemma, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole answer was streamed, and its end was a fault of the server's own."""
    serving = serving_of(tiny, "tiny")
    client = TestClient(build_app(serving))
    talk = client.post("/v1/conversations", json={}).json()["id"]
    finish = ResponseEvents.finish

    def late(self: ResponseEvents) -> Any:
        serving.store.delete(talk, "conversation")
        return finish(self)

    monkeypatch.setattr(ResponseEvents, "finish", late)
    fields = {"input": "Hi", "conversation": talk, "max_output_tokens": 2, "stream": True}
    assert chunks(client.post(PATH, json=fields).text)[-1]["type"] == "response.incomplete"


@pytest.mark.parametrize("limit", ["0", "101", "-1", "\u00b2", "9" * 5000, "x"])
def test_a_page_that_cannot_be_is_refused(client: TestClient, limit: str) -> None:
    talk = client.post("/v1/conversations", json={}).json()["id"]
    answer = client.get(f"/v1/conversations/{talk}/items", params={"limit": limit})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "limit")


def test_a_schema_is_kept(nano_client: TestClient) -> None:
    schema = {"type": "object", "properties": {"n": {"const": 7}}, "required": ["n"]}
    wanted = {"format": {"type": "json_schema", "name": "n", "schema": schema}}
    assert text_of(ask(nano_client, input=SUM, text=wanted)).replace(" ", "") == '{"n":7}'
