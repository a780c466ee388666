"""/v1/completions: raw prompts."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from gemcut import Gemma, SamplingParams
from tests.server.servers import chunks, refusal

PATH = "/v1/completions"


def complete(client: TestClient, **fields: Any) -> Any:
    answer = client.post(PATH, json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_prompt_is_continued_as_in_python(client: TestClient, tiny: Gemma) -> None:
    want = tiny.complete("abc", sampling=SamplingParams(max_tokens=9))
    for prompt in ("abc", "<bos>abc", tiny.tokenizer.encode("<bos>abc", special=True)):
        answer = complete(client, prompt=prompt, max_tokens=9)
        assert answer["choices"] == [
            {"index": 0, "text": want.text, "logprobs": None, "finish_reason": "length"}
        ]
    assert complete(client, prompt="abc")["usage"]["completion_tokens"] == 16  # OpenAI's own default


def test_several_prompts_are_answered_in_their_order(client: TestClient) -> None:
    fields: dict[str, Any] = {"n": 2, "temperature": 2.0, "seed": 3, "max_tokens": 6}
    together = complete(client, prompt=["abc", "xyz"], **fields)["choices"]
    assert [choice["index"] for choice in together] == [0, 1, 2, 3]
    for place, prompt in enumerate(["abc", "xyz"]):
        alone = complete(client, prompt=prompt, **fields)["choices"]
        assert [c["text"] for c in together[2 * place : 2 * place + 2]] == [c["text"] for c in alone]
    usage = complete(client, prompt=["abc", "xyz"], **fields)["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (8, 24)  # a prompt counts once


def test_a_stream_adds_up_to_what_comes_without_streaming(client: TestClient) -> None:
    fields: dict[str, Any] = {"prompt": ["abc", "xyz"], "max_tokens": 5, "echo": True, "logprobs": 2}
    whole = complete(client, **fields)
    stream = client.post(PATH, json=fields | {"stream": True, "stream_options": {"include_usage": True}})
    parts = chunks(stream.text)
    for choice in whole["choices"]:
        mine = [c for part in parts for c in part["choices"] if c["index"] == choice["index"]]
        assert "".join(c["text"] for c in mine) == choice["text"]
        told = [c["logprobs"] for c in mine if c["logprobs"]]
        joined = {name: [value for each in told for value in each[name]] for name in choice["logprobs"]}
        for name in ("tokens", "text_offset"):
            assert joined[name] == choice["logprobs"][name]
        scores = choice["logprobs"]["token_logprobs"]
        assert joined["token_logprobs"][0] is scores[0] is None
        assert joined["token_logprobs"][1:] == pytest.approx(
            scores[1:], abs=1e-4
        )  # batches round differently
    assert parts[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"] == 10


def test_a_prompt_is_scored_as_harnesses_ask_for_it(client: TestClient, tiny: Gemma) -> None:
    answer = complete(client, prompt="abcd", max_tokens=1, echo=True, logprobs=1)
    choice = answer["choices"][0]
    told = choice["logprobs"]
    assert told["tokens"] == ["<bos>", "a", "b", "c", "d", choice["text"][4:]]
    assert told["text_offset"] == [0, 0, 1, 2, 3, 4]
    ids = tiny.tokenizer.encode("<bos>abcd", special=True)
    want = tiny.logits(ids).log_softmax(-1)
    assert told["token_logprobs"][0] is None
    for place in range(4):
        assert told["token_logprobs"][place + 1] == pytest.approx(
            float(want[place, ids[place + 1]]), abs=1e-3
        )


def test_a_stop_ends_the_text_before_it(client: TestClient) -> None:
    free = complete(client, prompt="abc", max_tokens=12)["choices"][0]["text"]
    choice = complete(client, prompt="abc", max_tokens=12, stop=[free[4:6]])["choices"][0]
    assert choice["text"] == free[: free.index(free[4:6])]
    assert choice["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "a", "suffix": "b"}, "suffix"),
        ({"prompt": "a", "best_of": 2}, "best_of"),
        ({"prompt": "a", "messages": []}, "messages"),
        ({"prompt": "a", "logprobs": 21}, "logprobs"),
        ({"prompt": "a", "stream_options": {}}, "stream_options"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_its_name(
    client: TestClient, fields: dict[str, Any], param: str
) -> None:
    status, error = refusal(client, PATH, **fields)
    assert (status, error["param"]) == (400, param)


@pytest.mark.parametrize("prompt", [[10**9], ["a", "<|image|>"], "a" * 600])
def test_a_prompt_that_cannot_be_read_is_refused_and_nothing_runs_on(
    client: TestClient, tiny: Gemma, prompt: Any
) -> None:
    status, error = refusal(client, PATH, prompt=prompt, max_tokens=400)
    assert (status, error["param"]) == (400, "prompt")
    assert tiny.occupancy().waiting == 0
