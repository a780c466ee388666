import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemcut.errors import BadMessages, EmptyPrompt
from gemcut.prompt.messages import (
    MediaPart,
    Message,
    ToolCall,
    check_answerable,
    pair_responses,
    read_messages,
)
from tests.prompt.conversations import json_values, plain_text

USER = {"role": "user", "content": "Weather?"}


def calling(*calls: tuple[str, str | None]) -> dict[str, Any]:
    """An assistant's message with calls, each (name, id)."""
    listed = [{"id": i, "type": "function", "function": {"name": n, "arguments": "{}"}} for n, i in calls]
    return {"role": "assistant", "content": None, "tool_calls": listed}


def answering(call_id: str | None = None, name: str | None = None) -> dict[str, Any]:
    return {"role": "tool", "content": "15", "tool_call_id": call_id, "name": name}


def test_a_string_is_one_user_message() -> None:
    assert read_messages("Hi") == (Message("user", "Hi"),)


def test_openai_messages_are_read() -> None:
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "f", "arguments": '{"a": [1, 2.5], "b": null}'},
    }
    read = read_messages(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}, "there"]},
            {"role": "assistant", "content": None, "reasoning_content": "Hm.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "15"},
        ]
    )
    assert read == (
        Message("system", "Be brief."),
        Message("user", ("Hi", "there")),
        Message(
            "assistant", "", reasoning="Hm.", tool_calls=(ToolCall("f", {"a": [1, 2.5], "b": None}, "c1"),)
        ),
        Message("tool", "15", tool_call_id="c1"),
    )


def test_messages_that_were_read_are_read_again_unchanged() -> None:
    read = read_messages(
        [USER, calling(("f", "c1")), answering("c1", "f"), {"role": "assistant", "content": "15"}]
    )
    assert read_messages(read) == read


def test_a_reply_as_clients_send_it_back_is_read() -> None:
    reply = {"role": "assistant", "content": "Hi", "refusal": None, "annotations": [], "audio": None}
    reply |= {"function_call": None, "tool_calls": None, "reasoning": "Hm.", "reasoning_content": "Hm."}
    assert read_messages([reply]) == (Message("assistant", "Hi", reasoning="Hm."),)
    for one, other in (("reasoning", "reasoning_content"), ("reasoning_content", "reasoning")):
        assert read_messages([reply | {one: "", other: "Hm."}])[0].reasoning == "Hm."


def test_arguments_may_be_a_mapping_or_nothing() -> None:
    for arguments, wanted in (({"a": (1, True)}, {"a": [1, True]}), (None, {}), ("", {})):
        message = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}
        assert read_messages([message])[0].tool_calls == (ToolCall("f", wanted),)


@pytest.mark.parametrize(
    ("part", "wanted"),
    [
        ({"type": "image"}, MediaPart("image", None)),
        ({"type": "image", "path": "a.png"}, MediaPart("image", "a.png")),
        ({"type": "image", "image": "a.png"}, MediaPart("image", "a.png")),
        ({"type": "image_url", "image_url": {"url": "u", "detail": "low"}},
         MediaPart("image", {"url": "u", "detail": "low"})),
        ({"type": "input_audio", "input_audio": {"data": "d"}}, MediaPart("audio", {"data": "d"})),
        ({"type": "audio", "url": "u"}, MediaPart("audio", "u")),
        ({"type": "video_url", "video_url": {"url": "u"}}, MediaPart("video", {"url": "u"})),
    ],
)  # fmt: skip
def test_media_parts_keep_their_source(part: dict[str, Any], wanted: MediaPart) -> None:
    assert read_messages([{"role": "user", "content": [part]}])[0].content == (wanted,)


def user(content: Any, **more: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content, **more}]


def call_of(function: Any, **more: Any) -> list[dict[str, Any]]:
    return [{"role": "assistant", "tool_calls": [{"function": function, **more}]}]


BAD: list[tuple[Any, str]] = [
    ({"role": "user"}, "a string or a list of messages, not dict"),
    (7, "a string or a list of messages, not int"),
    (b"Hi", "not bytes"),
    (["Hi"], "message 0 must be a mapping"),
    ([{"content": "Hi"}], "message 0 has the role None; roles are system, developer, user, assistant, tool"),
    ([USER, {"role": "model", "content": "Hi"}], "message 1 has the role 'model'; roles are system"),
    (user("Hi", foo=1), "message 0 has the unknown key 'foo'; allowed are role, content"),
    (user("Hi", tool_calls=[]), "unknown key 'tool_calls'"),
    ([{"role": "assistant", "content": "", "refusal": "no"}], "unknown key 'refusal'"),
    ([Message("user", "Hi", reasoning="Hm.")], "unknown key 'reasoning'"),
    (user(None), "message 0 has content of type nothing"),
    (user(7), "content of type int"),
    (user({"a": 1}), "content of type dict"),
    (user([7]), "message 0, part 0 must be a mapping"),
    (user([{"type": "text", "text": 7}]), "part 0 has text of type int"),
    (user([{"type": "text", "text": "a", "bold": True}]), "part 0 has the unknown key 'bold'"),
    (user([{"type": "smell"}]), "part 0 has the type 'smell'; types are text, image, image_url"),
    (user([{"type": "image", "url": "u", "path": "p"}]), "more than one source"),
    ([{"role": "system", "content": [{"type": "image"}]}], "role system and may hold text only"),
    ([{"role": "assistant", "reasoning": 7}], "reasoning of type int"),
    ([{"role": "assistant", "tool_calls": {}}], "tool_calls of type dict"),
    ([{"role": "assistant", "tool_calls": [{}] * 1025}], "has 1025 calls, and 1024 are the most"),
    ([{"role": "assistant", "tool_calls": [7]}], "message 0, call 0 must be a mapping"),
    (call_of("f"), "must look like"),
    (call_of({"name": "f"}, type="custom"), "must look like"),
    (call_of({"name": ""}), "has the name ''"),
    (call_of({"name": "f"}, id=7), "id of type int"),
    (call_of({"name": "f", "arguments": "{a"}), "arguments that are no JSON .*: {a"),
    (call_of({"name": "f", "arguments": "[" * 100_000}), "arguments that are no JSON"),
    (call_of({"name": "f", "arguments": "[1]"}), "arguments of type list"),
    (call_of({"name": "f", "arguments": '{"a": NaN}'}), "nan is no JSON number"),
    (call_of({"name": "f", "arguments": {"a": object()}}), "a value of type object is no JSON"),
    (call_of({"name": "f", "arguments": {1: 2}}), "the key 1 is no string"),
    ([USER, answering("c1")], "message 1 is a response .* for which no call waits; waiting: none"),
    ([USER, calling(("f", "c1")), answering("c2")], r"waiting: 'f' \(id 'c1'\)"),
    ([USER, calling(("f", "c1")), answering("c1"), answering("c1")], "message 3 is a response"),
    ([USER, calling(("f", None)), answering(None, "g")], "name 'g'"),
    ([USER, calling(("f", "c1"), ("g", "c2")), answering("c1"), USER], r"1 has calls without .* \('g'\)"),
]  # fmt: skip


@pytest.mark.parametrize(("messages", "told"), BAD)
def test_what_is_wrong_is_named(messages: Any, told: str) -> None:
    with pytest.raises(BadMessages, match=told) as caught:
        read_messages(messages)
    assert "\n" not in str(caught.value)


def test_responses_are_tied_to_calls_by_id_or_name_or_order() -> None:
    by_id = [USER, calling(("f", "c1"), ("g", "c2")), answering("c2"), answering("c1")]
    by_name = [USER, calling(("f", None), ("g", None)), answering(None, "g"), answering(None, "f")]
    by_order = [USER, calling(("f", None), ("g", None)), answering(), answering()]
    assert pair_responses(read_messages(by_id)) == {2: (1, 1), 3: (1, 0)}
    assert pair_responses(read_messages(by_name)) == {2: (1, 1), 3: (1, 0)}
    assert pair_responses(read_messages(by_order)) == {2: (1, 0), 3: (1, 1)}


@pytest.mark.parametrize("messages", [[], ()])
def test_no_messages_are_an_empty_prompt(messages: Any) -> None:
    with pytest.raises(EmptyPrompt, match="give at least one"):
        read_messages(messages)


@pytest.mark.parametrize(
    "messages", ["", " \n", user([]), user([{"type": "text", "text": " "}]), [USER, *user("")]]
)
def test_a_blank_last_message_is_an_empty_prompt(messages: Any) -> None:
    with pytest.raises(EmptyPrompt, match="is the last and empty"):
        check_answerable(read_messages(messages))


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([USER, {"role": "assistant", "content": "15"}], "message 1 is the last and the assistant's own"),
        ([USER, calling(("f", "c1"))], r"message 1 is the last and leaves calls without a response \('f'\)"),
        ([USER, calling(("f", "c1"), ("g", "c2")), answering("c1")], r"without a response \('g'\)"),
    ],
)
def test_a_conversation_that_the_model_cannot_answer_is_refused(messages: Any, told: str) -> None:
    with pytest.raises(BadMessages, match=told):
        check_answerable(read_messages(messages))


@pytest.mark.parametrize(
    "messages",
    [
        "Hi",
        [USER, calling(("f", "c1")), {**answering("c1"), "content": ""}],
        [{"role": "system", "content": "Greet the user."}],
        user([{"type": "image"}]),
    ],
)
def test_a_conversation_that_waits_for_the_model_is_fine(messages: Any) -> None:
    check_answerable(read_messages(messages))


ODD = json_values(plain_text) | st.sampled_from(("user", "assistant", "tool", "text", "image", "function"))
KEYS = (
    "role",
    "content",
    "tool_calls",
    "tool_call_id",
    "name",
    "reasoning",
    "type",
    "text",
    "function",
    "arguments",
)
odd_messages = st.recursive(
    ODD, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
)


@given(messages=st.lists(odd_messages, max_size=3) | odd_messages)
def test_messages_of_any_shape_are_read_or_refused(messages: Any) -> None:
    with contextlib.suppress(BadMessages, EmptyPrompt):
        read = read_messages(messages)
        assert read_messages(read) == read
        check_answerable(read)
