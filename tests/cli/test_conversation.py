from pathlib import Path

import pytest

from gemcut.cli.conversation import Conversation
from gemcut.cli.screen import Screen
from gemcut.errors import BadMessages, GemcutError, PromptTooLong
from gemcut.prompt.messages import read_messages
from gemcut.reply import Delta
from tests.cli.fake import CALL, PLAIN, CtrlC, FakeGemma, said


def talk(*answers: list[Delta | CtrlC] | list[Delta] | GemcutError) -> tuple[Conversation, FakeGemma]:
    gemma = FakeGemma(*answers)
    return Conversation(gemma, "nano", PLAIN, Screen()), gemma


def test_each_question_is_asked_with_all_that_was_said_before() -> None:
    conversation, gemma = talk(said("Hello!"), said("Fine."))
    conversation.say("Hi")
    conversation.say("How are you?")
    assert gemma.asked[1].messages == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "How are you?"},
    ]


def test_settings_hold_from_the_next_question_on() -> None:
    conversation, gemma = talk(said("Hello!"), said("HELLO!", thoughts="Upper case."), said("Hello!"))
    conversation.say("Hi")
    conversation.change(system="Upper case!", think=True)
    conversation.say("Hi")
    conversation.change(system=None, think=False)
    conversation.say("Hi")
    assert [asked.think for asked in gemma.asked] == [False, True, False]
    assert [asked.messages[0]["role"] for asked in gemma.asked] == ["user", "system", "user"]
    assert gemma.asked[1].messages[0] == {"role": "system", "content": "Upper case!"}


def test_a_stopped_answer_stays_as_far_as_it_got() -> None:
    conversation, _ = talk([Delta("text", "Once upon"), CtrlC()])
    conversation.say("Tell me a story")
    assert conversation.messages[-1] == {"role": "assistant", "content": "Once upon"}


def test_a_question_that_was_stopped_before_its_answer_is_taken_back() -> None:
    conversation, _ = talk(said("Hello!"), [Delta("thought", "Hm"), CtrlC()])
    conversation.say("Hi")
    conversation.say("Tell me a story")
    assert [message["content"] for message in conversation.messages] == ["Hi", "Hello!"]


def test_a_question_that_failed_is_taken_back() -> None:
    conversation, _ = talk(said("Hello!"), PromptTooLong("the prompt has 9 tokens"), said("Fine."))
    conversation.say("Hi")
    with pytest.raises(PromptTooLong):
        conversation.say("a very long text")
    conversation.say("How are you?")
    assert [message["content"] for message in conversation.messages] == [
        "Hi",
        "Hello!",
        "How are you?",
        "Fine.",
    ]


def test_the_user_plays_the_tools() -> None:
    conversation, gemma = talk(said("", thoughts="I need a tool.", calls=[CALL, CALL]), said("Sunny, twice."))
    conversation.say("What is the weather?")
    assert conversation.open_calls == (CALL, CALL)
    conversation.give_results(['{"sky": "sunny"}', "sunny"])
    assert conversation.open_calls == ()
    caller = gemma.asked[1].messages[1]
    assert caller["reasoning_content"] == "I need a tool."
    assert [message["content"] for message in gemma.asked[1].messages[2:]] == ['{"sky": "sunny"}', "sunny"]
    read = read_messages(gemma.asked[1].messages)
    assert [call.arguments for call in read[1].tool_calls] == [CALL.arguments, CALL.arguments]
    assert conversation.messages[-1] == {"role": "assistant", "content": "Sunny, twice."}


def test_taking_back_a_question_takes_its_calls_along() -> None:
    conversation, _ = talk(said("Hello!"), said("", calls=[CALL]))
    conversation.say("Hi")
    conversation.say("What is the weather?")
    conversation.take_back()
    assert conversation.open_calls == ()
    assert len(conversation.messages) == 2


def test_what_is_saved_goes_on_where_it_was(tmp_path: Path) -> None:
    conversation, _ = talk(said("Hello!"))
    conversation.change(system="Be brief.")
    conversation.say("Hi")
    conversation.save(tmp_path / "talk.json")

    later, gemma = talk(said("Fine."))
    assert later.load(tmp_path / "talk.json") == "nano"
    later.say("How are you?")
    assert [message["content"] for message in gemma.asked[0].messages] == [
        "Be brief.",
        "Hi",
        "Hello!",
        "How are you?",
    ]


def test_a_file_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    conversation, _ = talk(said("Hello!"))
    conversation.say("Hi")
    (tmp_path / "talk.json").write_text("[]")
    with pytest.raises(BadMessages):
        conversation.load(tmp_path / "talk.json")
    assert len(conversation.messages) == 2


def test_clearing_forgets_all_but_the_settings() -> None:
    conversation, gemma = talk(said("Hello!"), said("Hello!"))
    conversation.change(system="Be brief.")
    conversation.say("Hi")
    conversation.clear()
    conversation.say("Hi")
    assert gemma.asked[0].messages == gemma.asked[1].messages
