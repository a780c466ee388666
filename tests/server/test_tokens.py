"""/tokenize and /detokenize."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from gemcut import Gemma
from tests.server.servers import PARIS, WEATHER, refusal


def test_text_becomes_ids_and_again_text(client: TestClient, tiny: Gemma) -> None:
    answer = client.post("/tokenize", json={"prompt": "Hi <turn|>", "return_token_strs": True}).json()
    assert answer["tokens"] == tiny.tokenizer.encode("<bos>Hi <turn|>", special=True)
    assert answer["count"] == len(answer["tokens"])
    assert "".join(answer["token_strs"]) == "<bos>Hi <turn|>"
    back = client.post("/detokenize", json={"tokens": answer["tokens"]}).json()
    assert back == {"prompt": "<bos>Hi <turn|>"}
    bare = client.post("/detokenize", json={"tokens": answer["tokens"], "skip_special_tokens": True}).json()
    assert bare == {"prompt": "Hi "}


def test_control_strings_may_be_text_and_bos_left_out(client: TestClient, tiny: Gemma) -> None:
    fields = {"prompt": "<turn|>", "parse_special": False, "add_special_tokens": False}
    answer = client.post("/tokenize", json=fields).json()
    assert answer["tokens"] == tiny.tokenizer.encode("<turn|>")


def test_a_chat_has_the_tokens_that_the_model_reads(nano_client: TestClient, nano_model: Gemma) -> None:
    fields = {"messages": PARIS, "tools": [WEATHER], "chat_template_kwargs": {"enable_thinking": True}}
    answer = nano_client.post("/tokenize", json=fields).json()
    assert answer["tokens"] == list(nano_model.prompt(PARIS, tools=[WEATHER], think=True).token_ids)


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"prompt": "a", "messages": PARIS}, "prompt"),
        ("/tokenize", {"prompt": "a", "tools": []}, "tools"),
        ("/tokenize", {"prompt": "a", "chat_template_kwargs": {}}, "chat_template_kwargs"),
        ("/tokenize", {"prompt": 7}, "prompt"),
        ("/tokenize", {"prompt": "a" * 10**6}, "prompt"),
        ("/tokenize", {"messages": [{"role": "user", "content": "a" * 10**6}]}, "messages"),
        ("/tokenize", {"messages": PARIS, "parse_special": True}, "parse_special"),
        ("/tokenize", {"messages": PARIS, "add_special_tokens": True}, "add_special_tokens"),
        ("/detokenize", {"tokens": [10**6]}, "tokens"),
        ("/detokenize", {"tokens": "a"}, "tokens"),
        ("/detokenize", {}, "tokens"),
    ],
)
def test_what_cannot_be_is_refused(client: TestClient, path: str, fields: dict[str, Any], param: str) -> None:
    status, error = refusal(client, path, **fields)
    assert (status, error["param"]) == (400, param)
