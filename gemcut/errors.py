"""Every error that gemcut raises on purpose.

Each message is one line: what was wrong, the values, what to do. The command line prints it and exits with
code 2.

    GemcutError
    ├── UnknownModel           a name that is no size, no folder and no hub id
    ├── CheckpointError        files of a model
    │   ├── CheckpointNotFound     no folder, no config.json, no weights
    │   ├── DownloadFailed         the hub cannot be reached, or refuses
    │   ├── BadConfig              a key of config.json is unknown, missing or has an unusable value
    │   ├── BadWeightFile          truncated or damaged safetensors or GGUF
    │   └── WeightMismatch         tensors missing, left over, of another shape or dtype
    ├── PromptError            what the model is to read
    │   ├── BadMessages            messages that are not in OpenAI's shape
    │   ├── EmptyPrompt            nothing to read
    │   ├── PromptTooLong          more tokens than the context holds
    │   ├── RequestTooLarge        more tokens than the engine's memory for keys and values holds
    │   ├── BadTools               a tool that is neither a JSON schema nor a typed function
    │   ├── TemplateFailed         the chat template raised or does not compile
    │   ├── BadTokenizer           tokenizer files that are missing, damaged or of another model
    │   ├── UnsupportedInput       a kind of input this model does not take
    │   └── BadMedia               an image, sound or video that cannot be read, or is too large
    ├── BadSampling            options of sampling that are out of range or contradict each other
    ├── BadConstraint          a schema, expression or grammar that cannot be enforced
    ├── BadOption              any other option that cannot be met: a device, a dtype, a flag
    ├── BadTraining            training data or options that cannot be used
    ├── BenchFailed            a program that is measured cannot be started, or failed
    ├── BatchFailed            some questions of a batch could not be answered
    ├── AgentUnfinished        an agent gave no answer: its rounds are used up, or a reply broke off
    ├── ToolFailed             a tool of an agent could not do its work; the model is told
    ├── McpFailed              an MCP server cannot be reached or does not answer
    └── EngineFailed           the engine has stopped: it was closed, or met a fault of its own
"""

from collections.abc import Mapping, Sequence
from typing import Any


class GemcutError(Exception):
    """An error with a message for the user; the base of all others."""


class UnknownModel(GemcutError):
    """The name is no known size, no folder and no hub id."""


class CheckpointError(GemcutError):
    """Something is wrong with the files of a model."""


class CheckpointNotFound(CheckpointError):
    """The folder, its config.json or its weights are not there."""


class DownloadFailed(CheckpointError):
    """The hub cannot be reached, or refuses."""


class BadConfig(CheckpointError):
    """A key of a config file is unknown, missing, or has an unusable value."""


class BadWeightFile(CheckpointError):
    """A weight file is truncated or damaged."""


class WeightMismatch(CheckpointError):
    """The checkpoint's tensors are not the model's: missing, left over, another shape or dtype."""


class PromptError(GemcutError):
    """Something is wrong with what the model is to read."""


class BadMessages(PromptError):
    """The messages are not in OpenAI's shape."""


class EmptyPrompt(PromptError):
    """There is nothing to read."""


class PromptTooLong(PromptError):
    """The prompt has more tokens than the context holds."""


class RequestTooLarge(PromptError):
    """The request could not run even alone: the memory for keys and values is too small for it."""


class BadTools(PromptError):
    """A tool is neither a JSON schema nor a typed Python function."""


class TemplateFailed(PromptError):
    """The chat template does not compile, or raised."""


class BadTokenizer(PromptError):
    """The tokenizer's files are missing, damaged, or lack Gemma 4's special tokens."""


class UnsupportedInput(PromptError):
    """This model does not take this kind of input."""


class BadMedia(PromptError):
    """An image, sound or video cannot be read, or is too large."""


class BadSampling(GemcutError):
    """Sampling options are out of range or contradict each other."""


class BadConstraint(GemcutError):
    """A JSON schema, regular expression or grammar that cannot be enforced on a reply."""


class BadOption(GemcutError):
    """An option cannot be met: a device, a dtype, a command-line flag."""


class BadTraining(GemcutError):
    """Training data or options cannot be used."""


class BenchFailed(GemcutError):
    """A program that is measured cannot be started, failed, or did something else than it was asked to."""


class BatchFailed(GemcutError):
    """Some questions of a batch could not be answered.

    replies: to all questions, in their order, None for those that failed.  errors: what went wrong, by place.
    """

    def __init__(self, replies: Sequence[Any], errors: Mapping[int, GemcutError]) -> None:
        place, first = min(errors.items())
        super().__init__(
            f"{len(errors)} of {len(replies)} questions failed, the first at place {place}: {first}; the "
            "error's `replies` has the others, its `errors` what went wrong"
        )
        self.replies = list(replies)
        self.errors = dict(errors)


class AgentUnfinished(GemcutError):
    """An agent gave no answer: it called tools in every round that it had, or its last reply broke off.

    run: what happened until then, an `AgentRun`.
    """

    def __init__(self, problem: str, run: Any) -> None:
        super().__init__(f"{problem}, or look at the error's `run`")
        self.run = run


class ToolFailed(GemcutError):
    """A tool could not do its work; raised within a tool, its message is what the model is told."""


class McpFailed(GemcutError):
    """An MCP server cannot be started or reached, or does not answer."""


class EngineFailed(GemcutError):
    """The engine has stopped: it was closed, or met a fault of its own."""
