import asyncio
import datetime
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest
from PIL import Image

from gemcut import AgentTool, MediaPart
from gemcut.errors import BadTools, ToolFailed
from gemcut.prompt.messages import ToolCall
from gemcut.toolbox import Toolbox, content_of


class Unit(enum.Enum):
    CELSIUS = "celsius"
    KELVIN = "kelvin"


@dataclass
class Weather:
    city: str
    degrees: float


def told(tool: Any, **arguments: Any) -> Any:
    box = Toolbox([tool])
    return box.run(ToolCall(box_name(tool), arguments)).content


def box_name(tool: Any) -> str:
    return tool.declaration["name"] if isinstance(tool, AgentTool) else tool.__name__


def test_arguments_become_what_the_function_s_types_say() -> None:
    def when(day: datetime.date, unit: Unit, days: int = 2) -> str:
        assert isinstance(day, datetime.date)
        assert isinstance(unit, Unit)
        return f"{day + datetime.timedelta(days)} {unit.value}"

    assert told(when, day="2026-11-20", unit="kelvin") == "2026-11-22 kelvin"


def test_an_async_function_is_awaited() -> None:
    async def wait(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "awake"

    assert told(wait, seconds=0.001) == "awake"


def test_a_method_and_a_declared_tool_can_be_called() -> None:
    class Counter:
        count = 3

        def add(self, number: int) -> int:
            """Adds a number."""
            self.count += number
            return self.count

    def look(arguments: Mapping[str, Any]) -> str:
        return f"saw {arguments['what']}"

    declared = AgentTool({"name": "look", "parameters": {"properties": {"what": {"type": "string"}}}}, look)
    assert told(Counter().add, number=4) == "7"
    assert told(declared, what="a bird") == "saw a bird"


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("as it is", "as it is"),
        (None, "null"),
        (3.5, "3.5"),
        ({"a": [1, True]}, '{"a": [1, true]}'),
        (Weather("Ljubljana – center", 3.5), '{"city": "Ljubljana – center", "degrees": 3.5}'),
        (pydantic.create_model("Point", x=(int, ...))(x=3), '{"x": 3}'),
        ([datetime.date(2026, 11, 20), Unit.KELVIN], '["2026-11-20", "kelvin"]'),
        ({"type": "image", "path": "/etc/passwd"}, '{"type": "image", "path": "/etc/passwd"}'),
    ],
)
def test_values_are_told_as_text_or_json(value: Any, content: str) -> None:
    assert content_of(value) == content


def test_pictures_and_sound_are_parts_in_their_order() -> None:
    picture, sound = Image.new("RGB", (4, 4)), MediaPart("audio", b"RIFF")
    assert content_of(picture) == (MediaPart("image", picture),)
    assert content_of(["before", picture, {"n": 1}, sound]) == (
        "before",
        MediaPart("image", picture),
        '{"n": 1}',
        sound,
    )


def test_what_json_cannot_hold_is_an_error_of_the_tool() -> None:
    with pytest.raises(ToolFailed, match="of type object, which cannot be told"):
        content_of(object())


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyError("Atlantis"), "error: KeyError: 'Atlantis'"),
        (RuntimeError(), "error: RuntimeError"),
        (ToolFailed("not found"), "error: not found"),
        (OSError("two\nlines"), "error: OSError: two lines"),
    ],
)
def test_what_a_tool_raises_is_its_result(error: Exception, text: str) -> None:
    def fail() -> str:
        raise error

    result = Toolbox([fail]).run(ToolCall("fail", {}))
    assert (result.content, result.error) == (text, error)


def test_wrong_arguments_are_told_by_their_names() -> None:
    def add(first: int, second: int) -> int:
        return first + second

    assert told(add, first="many", third=1) == (
        "error: wrong arguments: first: Input should be a valid integer, unable to parse string as an "
        "integer; second: Missing required argument; third: Unexpected keyword argument"
    )


def test_a_tool_that_is_not_there_is_told_with_those_that_are() -> None:
    def add(first: int) -> int:
        return first

    result = Toolbox([add]).run(ToolCall("subtract", {}))
    assert result.content == "error: there is no tool 'subtract'; the tools are add"


def test_a_schema_alone_is_refused() -> None:
    with pytest.raises(BadTools, match="'look' is a schema alone and an agent calls its tools"):
        Toolbox([{"name": "look"}])  # type: ignore[list-item]


def test_two_tools_of_one_name_are_refused() -> None:
    def look() -> str:
        return ""

    with pytest.raises(BadTools, match="two tools have the name 'look'"):
        Toolbox([look, AgentTool({"name": "look"}, str)])
