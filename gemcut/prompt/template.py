"""The checkpoint's chat template: messages → the text that the model was trained to read."""

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gemcut.errors import TemplateFailed


class ChatTemplate:
    """A chat template, compiled, in jinja2's sandbox with what transformers gives to templates.

    source: the template's text.  Raises TemplateFailed where it does not compile.
    """

    def __init__(self, source: str) -> None:
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateError as error:
            raise TemplateFailed(
                f"the chat template does not compile ({_one_line(error)}); {ADVICE}"
            ) from error
        self.source = source

    @classmethod
    def from_folder(cls, folder: Path) -> "ChatTemplate":
        """The template of a checkpoint folder: chat_template.jinja, or the one in tokenizer_config.json.

        Raises TemplateFailed where there is none or it does not compile.
        """
        file = folder / "chat_template.jinja"
        if file.is_file():
            return cls(_read(file))
        settings = folder / "tokenizer_config.json"
        if settings.is_file():
            try:
                found = json.loads(_read(settings)).get("chat_template")
            except (ValueError, AttributeError) as error:
                raise TemplateFailed(
                    f"{settings} is no JSON object ({_one_line(error)}); {ADVICE}"
                ) from error
            if isinstance(found, str):
                return cls(found)
        raise TemplateFailed(f"{folder} has no chat template (chat_template.jinja); {ADVICE}")

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        think: bool = False,
        add_generation_prompt: bool = True,
        preserve_thinking: bool = False,
    ) -> str:
        """The prompt as text, `<bos>` and all, of messages in the shape that templates read.

        think: whether the model is to think first.  add_generation_prompt: whether to open the model's turn.
        preserve_thinking: whether earlier turns with calls keep their thoughts.
        Raises TemplateFailed with the template's own words.
        """
        try:
            return self._template.render(
                messages=list(messages),
                tools=list(tools) if tools else None,
                bos_token="<bos>",
                enable_thinking=think,
                add_generation_prompt=add_generation_prompt,
                preserve_thinking=preserve_thinking,
            )
        except Exception as error:  # a template may fail in any way that Python code can
            raise TemplateFailed(
                f"the chat template failed ({_one_line(error)}); check the messages and tools"
            ) from error


ADVICE = "use the chat_template.jinja that belongs to the model"


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = _now
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as it is; jinja2's own filter escapes HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _now(layout: str) -> str:
    return datetime.datetime.now().strftime(layout)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateFailed(f"{file} cannot be read ({_one_line(error)}); {ADVICE}") from error


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if text else type(error).__name__
