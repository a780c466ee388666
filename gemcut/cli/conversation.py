"""A conversation held with a model in a terminal: what was said so far, and the settings it goes on with."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gemcut.api import Gemma
from gemcut.cli.answer import Answer, json_text, show_answer
from gemcut.cli.attachments import Part, attachment, question
from gemcut.cli.screen import Screen
from gemcut.cli.transcript import Transcript, load_transcript, save_transcript
from gemcut.engine.sampling_params import SamplingParams
from gemcut.errors import GemcutError
from gemcut.many import ReplyOptions
from gemcut.prompt.media import MediaOptions
from gemcut.prompt.messages import ToolCall


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How questions are asked."""

    system: str | None
    think: bool
    tools: tuple[dict[str, Any], ...]
    constrain_tools: bool
    schema: dict[str, Any] | None
    media: MediaOptions
    sampling: SamplingParams

    @property
    def options(self) -> ReplyOptions:
        """All but the system prompt, as `Gemma.reply` takes it."""
        return ReplyOptions(
            tools=self.tools,
            constrain_tools=self.constrain_tools,
            schema=self.schema,
            think=self.think,
            media=self.media,
            sampling=self.sampling,
        )


class Conversation:
    """What was said, and with which model.

    source: the model's name as the user gave it.  messages: without the system prompt, in OpenAI's shape.
    attached: images, sound and videos that go with the next question.
    """

    def __init__(
        self,
        gemma: Gemma,
        source: str,
        settings: Settings,
        screen: Screen,
        attached: Sequence[Part] = (),
    ) -> None:
        self.gemma = gemma
        self.source = source
        self.settings = settings
        self.screen = screen
        self.messages: list[dict[str, Any]] = []
        self.attached: list[Part] = list(attached)
        self.open_calls: tuple[ToolCall, ...] = ()  # calls of the last answer that have no result yet
        self._turn_start = 0  # where the last question stands in messages

    def say(self, text: str) -> None:
        """Asks the model, prints its answer, and remembers both.

        An answer that the user stopped is remembered as far as it got. Where nothing was answered, or the
        question failed, the question is taken back; a failure raises its GemcutError.
        """
        self._turn_start = len(self.messages)
        self.messages.append(question(text, self.attached))
        self.attached.clear()
        self._answer()

    def attach(self, kind: str, source: str) -> None:
        """Puts a file or URL beside the next question; raises BadOption where the file is not there."""
        self.attached.append(attachment(kind, source))

    def give_results(self, results: Sequence[str]) -> None:
        """Hands the model what its open calls returned, a result for each, and prints what it says then."""
        for call, result in zip(self.open_calls, results, strict=True):
            message = {"role": "tool", "name": call.name, "content": result}
            self.messages.append(message if call.id is None else message | {"tool_call_id": call.id})
        self._answer()

    def take_back(self) -> None:
        """Forgets the last question and everything after it."""
        del self.messages[self._turn_start :]
        self.open_calls = ()

    def clear(self) -> None:
        """Forgets everything that was said."""
        self.messages.clear()
        self.attached.clear()
        self.open_calls = ()

    def change(self, **settings: Any) -> None:
        """Changes settings by name, for the next question on."""
        self.settings = replace(self.settings, **settings)

    def save(self, path: Path) -> None:
        """Writes the conversation to a file; raises BadOption where that cannot be."""
        save_transcript(
            Transcript(model=self.source, system=self.settings.system, messages=self.messages), path
        )

    def load(self, path: Path) -> str:
        """Goes on with a saved conversation and its system prompt; returns the model it was held with.

        Raises BadOption or BadMessages where the file cannot be used; nothing has changed then.
        """
        transcript = load_transcript(path)
        self.clear()
        self.messages += transcript.messages
        self.change(system=transcript.system)
        return transcript.model

    def _answer(self) -> None:
        try:
            answer = self._ask()
        except (GemcutError, KeyboardInterrupt):
            self.take_back()
            raise
        if not answer.text and not answer.tool_calls:
            self.take_back()
            return
        self.messages.append(message_of(answer))
        self.open_calls = answer.tool_calls

    def _ask(self) -> Answer:
        messages = with_system(self.settings.system, self.messages)
        return show_answer(self.gemma.stream(messages, **self.settings.options), self.screen)


def with_system(system: str | None, messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages behind a system prompt, where there is one."""
    return [*([] if system is None else [{"role": "system", "content": system}]), *messages]


def message_of(answer: Answer) -> dict[str, Any]:
    """An answer as a message in OpenAI's shape."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if answer.thoughts:
        message["reasoning_content"] = answer.thoughts
    if answer.tool_calls:
        message["tool_calls"] = [call_json(call) for call in answer.tool_calls]
    return message


def call_json(call: ToolCall) -> dict[str, Any]:
    """A tool call in OpenAI's shape."""
    function = {"name": call.name, "arguments": json_text(call.arguments)}
    shape: dict[str, Any] = {"type": "function", "function": function}
    return shape if call.id is None else {"id": call.id} | shape
