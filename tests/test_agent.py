"""Agents on a scripted model, and on nano."""

import re
import threading
from pathlib import Path

import pytest
from PIL import Image

from gemcut import Gemma, MediaPart, Message, SamplingParams
from gemcut.agent import Agent, AgentOptions, AgentRun
from gemcut.errors import AgentUnfinished, BadMedia, BadOption
from gemcut.prompt.messages import ToolCall
from gemcut.reply import Delta, Usage
from gemcut.toolbox import ToolResult
from tests.scripted import Scripted, breaks_off, calls, says

PLAIN = AgentOptions(system=None, max_rounds=4, parallel=4)


def get_weather(city: str) -> dict[str, object]:
    """The weather in a city right now.

    Args:
        city: The city's name.
    """
    if city == "Atlantis":
        raise LookupError("no such city")
    return {"weather": "sunny", "degrees": len(city)}


def test_calls_are_run_and_their_results_told_until_there_is_an_answer() -> None:
    model = Scripted(calls(("get_weather", {"city": "Bern"}), thoughts="Use it."), says("It is |sunny."))
    run = Agent(model, [get_weather], PLAIN, think=True).run("And in Bern?")
    assert run.text == "It is sunny."
    assert run.calls == (ToolCall("get_weather", {"city": "Bern"}, "call_1"),)
    assert run.messages == (
        Message("user", "And in Bern?"),
        Message("assistant", reasoning="Use it.", tool_calls=run.calls),
        Message("tool", '{"weather": "sunny", "degrees": 4}', tool_call_id="call_1"),
        Message("assistant", "It is sunny."),
    )
    assert [len(told) for told in model.told] == [1, 3]
    assert model.options[0] == {"tools": [get_weather], "think": True}
    assert run.usage == Usage(20, 8, 4)


def test_what_happens_is_streamed_in_order() -> None:
    model = Scripted(calls(("get_weather", {"city": "Bern"})), says("Sunny."))
    events = list(Agent(model, [get_weather], PLAIN).stream("And in Bern?"))
    shown = [event.kind if isinstance(event, Delta) else type(event).__name__ for event in events]
    assert shown == ["tool_call", "finish", "ToolResult", "text", "finish", "AgentRun"]
    assert events[0].tool_call == events[2].call


def test_calls_of_one_reply_run_together_and_stand_in_the_calls_order() -> None:
    """Each waits for the other, so one after the other they would never end."""
    meeting = threading.Barrier(2, timeout=20)
    second_done = threading.Event()

    def meet(who: str) -> str:
        meeting.wait()
        if who == "first":
            second_done.wait(20)
        return f"{who} was there"

    model = Scripted(calls(("meet", {"who": "first"}), ("meet", {"who": "second"})), says("Both."))
    come = []
    for event in Agent(model, [meet], PLAIN).stream("Meet."):
        if isinstance(event, ToolResult):
            come.append(event.content)
            second_done.set()
        if isinstance(event, AgentRun):
            assert [result.content for result in event.results] == ["first was there", "second was there"]
            assert [message.tool_call_id for message in event.messages[2:4]] == ["call_1", "call_2"]
    assert come == ["second was there", "first was there"]


def test_what_a_tool_raises_is_told_to_the_model_and_kept_for_the_caller() -> None:
    model = Scripted(calls(("get_weather", {"city": "Atlantis"})), says("There is no such city."))
    run = Agent(model, [get_weather], PLAIN).run("And in Atlantis?")
    assert model.told[1][-1].content == "error: LookupError: no such city"
    assert isinstance(run.results[0].error, LookupError)


def test_rounds_have_an_end_and_the_error_holds_what_happened() -> None:
    model = Scripted(*[calls(("get_weather", {"city": "Bern"}))] * 9)
    with pytest.raises(
        AgentUnfinished, match=r"4 rounds ended with calls .*\(called: get_weather\); raise"
    ) as e:
        Agent(model, [get_weather], PLAIN).run("Go on for ever.")
    assert len(e.value.run.replies) == 4
    assert [call.id for call in e.value.run.calls] == ["call_1", "call_2", "call_3", "call_4"]


CUT_CALL = Delta("malformed_call", "call:get_weather{city:")


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (breaks_off(CUT_CALL), "cut off after 4 tokens, within a call; raise max_tokens"),
        (breaks_off(Delta("text", "I look."), CUT_CALL), "within a call"),
        (breaks_off(Delta("thought", "So")), "cut off after 4 tokens, before its answer"),
        (breaks_off(CUT_CALL, reason="stop"), "cannot be read, 'call:get_weather{city:'; leave constrain_to"),
    ],
)
def test_a_reply_that_breaks_off_is_no_answer(reply: list[Delta], problem: str) -> None:
    """The run once ended with the text "" as if all were well."""
    model = Scripted(calls(("get_weather", {"city": "Bern"})), reply)
    with pytest.raises(AgentUnfinished, match=re.escape(problem)) as e:
        Agent(model, [get_weather], PLAIN).run("And in Bern?")
    assert len(e.value.run.replies) == 2
    assert [result.call.name for result in e.value.run.results] == ["get_weather"]


def test_the_beginning_of_an_answer_is_given_and_says_that_it_was_cut() -> None:
    run = Agent(Scripted(breaks_off(Delta("text", "It is"))), [get_weather], PLAIN).run("And in Bern?")
    assert (run.text, run.replies[-1].finish_reason) == ("It is", "length")


def test_the_system_message_comes_first_and_once() -> None:
    working = AgentOptions(system="Be brief.", max_rounds=4, parallel=1)
    model = Scripted(says("Yes."), says("No."))
    agent = Agent(model, [get_weather], working)
    run = agent.run("Sunny?")
    again = agent.run([*run.messages, Message("user", "Really?")])
    assert [message.role for message in again.messages] == ["system", *["user", "assistant"] * 2]
    assert again.messages[0].content == "Be brief."


def test_calls_are_numbered_on_where_a_conversation_goes_on() -> None:
    call = ("get_weather", {"city": "Bern"})
    agent = Agent(Scripted(calls(call), says("Yes."), calls(call, call), says("Both.")), [get_weather], PLAIN)
    again = agent.run([*agent.run("Sunny?").messages, Message("user", "And twice?")])
    assert [call.id for call in again.calls] == ["call_2", "call_3"]
    assert [m.tool_call_id for m in again.messages if m.role == "tool"] == ["call_1", "call_2", "call_3"]


def test_a_picture_from_a_tool_is_a_part_of_its_result() -> None:
    picture = Image.new("RGB", (8, 8))

    def take_picture() -> list[object]:
        return ["a photo:", picture]

    model = Scripted(calls(("take_picture", {})), says("A black square."))
    Agent(model, [take_picture], PLAIN).run("What do you see?")
    assert model.told[1][-1].content == ("a photo:", MediaPart("image", picture))


def test_a_picture_that_cannot_be_read_is_an_error_of_its_tool() -> None:
    def take_picture() -> MediaPart:
        return MediaPart("image", b"no picture")

    model = Scripted(calls(("take_picture", {})), says("It failed."), refuses=BadMedia("it is no image"))
    run = Agent(model, [take_picture], PLAIN).run("What do you see?")
    assert run.messages[2].content == "error: BadMedia: it is no image"
    assert isinstance(run.results[0].error, BadMedia)


def test_who_stops_reading_ends_the_reply() -> None:
    closed = []

    class Endless(Scripted):
        def stream(self, messages, **options):  # type: ignore[no-untyped-def]
            try:
                while True:
                    yield Delta("text", "on ")
            finally:
                closed.append(True)

    stream = Agent(Endless(), [get_weather], PLAIN).stream("Go on.")
    next(stream)
    stream.close()
    assert closed == [True]


@pytest.mark.parametrize("name", ["max_rounds", "parallel"])
def test_numbers_below_one_are_refused(name: str) -> None:
    with pytest.raises(BadOption, match=f"{name} is 0; it must be at least 1"):
        AgentOptions(**{"system": None, "max_rounds": 1, "parallel": 1} | {name: 0})


def test_nano_calls_two_tools_and_answers_from_each_result(nano: Path) -> None:
    """One conversation, two requests; each is answered with what its tool alone can know."""

    def get_weather(city: str) -> str:
        """The weather in a city.

        Args:
            city: The city's name.
        """
        return {"Lisbon": "windy"}[city]

    def get_price(item: str) -> dict[str, int]:
        """The price of an item.

        Args:
            item: The item's name.
        """
        return {"price": 417}

    gemma = Gemma.load("nano", device="cpu")
    agent = gemma.agent([get_weather, get_price], sampling=SamplingParams(temperature=0, max_tokens=80))
    first = agent.run("What is the weather in Lisbon?")
    assert "windy" in first.text
    then = agent.run([*first.messages, Message("user", "What is the price of a lamp?")])
    assert [call.name for call in then.calls] == ["get_price"]
    assert "417" in then.text
    gemma.close()
