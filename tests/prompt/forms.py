"""How prompts are written for models that see, hear, or do neither."""

from dataclasses import replace
from typing import Any

from gemcut.prompt.assemble import PromptFormat
from gemcut.prompt.media import MediaOptions, MediaReader
from gemcut.prompt.template import ChatTemplate
from gemcut.prompt.tokenizer import Tokenizer
from tests.parity.tiny import EDGE, model_config


def form(
    tokenizer: Tokenizer, template: ChatTemplate, media: MediaOptions | None = None, **parts: Any
) -> PromptFormat:
    """For a model that takes text only, unless its `vision` or `audio` is given."""
    config = replace(model_config(EDGE), **parts)
    return PromptFormat(tokenizer, template, MediaReader(config, MediaOptions() if media is None else media))
