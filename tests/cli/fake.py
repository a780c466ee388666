"""A model that says what it is told to, and remembers what it was asked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gemcut.api import Gemma
from gemcut.cli.conversation import Settings
from gemcut.engine.sampling_params import SamplingParams
from gemcut.engine.stop_conditions import FinishReason
from gemcut.errors import GemcutError
from gemcut.prompt.media import MediaOptions
from gemcut.prompt.messages import ToolCall
from gemcut.reply import Delta, Finish, Reply, Timing, Usage, whole_reply

PLAIN = Settings(
    system=None,
    think=False,
    tools=(),
    constrain_tools=True,
    schema=None,
    media=MediaOptions(),
    sampling=SamplingParams(),
)
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Its name."}},
        },
    },
}
CALL = ToolCall("get_weather", {"city": "Łódź"})


class CtrlC:
    """Stands in an answer for the moment at which the user presses Ctrl-C."""


@dataclass(frozen=True)
class Asked:
    """One question, as it reached the model."""

    messages: list[dict[str, Any]]
    tools: Any
    think: bool
    media: MediaOptions | None
    sampling: SamplingParams | None


class FakeGemma(Gemma):
    """Gives these answers in turn; an error in place of an answer is raised."""

    def __init__(self, *answers: Sequence[Delta | CtrlC] | GemcutError) -> None:
        self.answers = list(answers)
        self.asked: list[Asked] = []

    def stream(
        self, messages: Any, *, tools: Any = None, think: bool = False, **options: Any
    ) -> Iterator[Delta]:
        copied = [dict(message) for message in messages]
        self.asked.append(Asked(copied, tools, think, options.get("media"), options.get("sampling")))
        answer = self.answers.pop(0)
        if isinstance(answer, GemcutError):
            raise answer
        return self._stream_of(answer)

    def reply(self, messages: Any, **options: Any) -> Reply:
        return whole_reply(self.stream(messages, **options))

    def _stream_of(self, answer: Sequence[Delta | CtrlC]) -> Iterator[Delta]:
        for delta in answer:
            if isinstance(delta, CtrlC):
                raise KeyboardInterrupt
            yield delta


def finish(reason: FinishReason = "stop", tokens_per_s: float = 85.26) -> Delta:
    """The last piece of an answer of 12 tokens."""
    usage, timing = (
        Usage(prompt_tokens=7, completion_tokens=12, cached_tokens=0),
        Timing(first_token_s=0.123, tokens_per_s=tokens_per_s),
    )
    return Delta("finish", finish=Finish(reason, usage, timing))


def said(text: str, thoughts: str = "", calls: Sequence[ToolCall] = ()) -> list[Delta]:
    """An answer in several pieces."""
    pieces = [Delta("thought", piece) for piece in (thoughts[:3], thoughts[3:]) if piece]
    pieces += [Delta("text", piece) for piece in (text[:3], text[3:]) if piece]
    pieces += [Delta("tool_call", tool_call=call) for call in calls]
    return [*pieces, finish("tool_calls" if calls else "stop")]
