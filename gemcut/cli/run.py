"""`gemcut run`: ask a model, once or in a conversation."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gemcut.cli import options
from gemcut.cli.arguments import model_and_prompt, piped_text, with_piped
from gemcut.cli.screen import Screen
from gemcut.errors import BadOption, EmptyPrompt

if TYPE_CHECKING:
    from gemcut.cli.conversation import Conversation

First = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL", help="A size (`gemcut list`), a hub id, a folder, a GGUF file. Without one: nano."
    ),
]
Second = Annotated[
    str | None,
    typer.Argument(metavar="PROMPT", help="What to ask. Without one, on a terminal: a conversation."),
]


def run(
    model: First = None,
    prompt: Second = None,
    system: options.System = None,
    think: options.Think = False,
    tools: options.Tools = None,
    free_calls: options.FreeCalls = False,
    schema: options.Schema = None,
    image: options.Image = None,
    audio: options.Audio = None,
    video: options.Video = None,
    image_tokens: options.ImageTokens = None,
    video_frames: options.VideoFrames = None,
    video_sound: options.VideoSound = False,
    trim: options.Trim = False,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    min_p: options.MinP = None,
    repetition_penalty: options.RepetitionPenalty = None,
    presence_penalty: options.PresencePenalty = 0.0,
    frequency_penalty: options.FrequencyPenalty = 0.0,
    seed: options.Seed = None,
    max_tokens: options.MaxTokens = None,
    min_tokens: options.MinTokens = 0,
    max_thought_tokens: options.MaxThoughtTokens = None,
    stop: options.Stop = None,
    as_json: options.AsJson = False,
    batch: options.Batch = None,
    out: options.Out = None,
    drafter: options.Drafter = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    offline: options.Offline = False,
) -> None:
    """Ask a model once, or hold a conversation with it.

    A lone word is the MODEL where it is a size, a folder, a .gguf file or a hub id (org/name), else
    it is the PROMPT for nano. Piped text is the prompt, or follows PROMPT. Only the answer goes to stdout.
    """
    screen = Screen()
    with screen.waiting("loading torch …"):  # here: it takes seconds, and --help needs none
        from gemcut.cli import attachments
        from gemcut.cli.batch import BatchFiles, run_batch
        from gemcut.cli.conversation import Conversation, Settings
        from gemcut.cli.once import answer_as_json, answer_once
        from gemcut.cli.opening import Loading, open_model, read_schema_file, read_tool_file
        from gemcut.engine.sampling_params import SamplingParams
        from gemcut.media.video import VideoOptions
        from gemcut.prompt.media import MediaOptions

    source, question = model_and_prompt(model, prompt)
    named = [*(image or ()), *(audio or ()), *(video or ())]
    question = _whole_question(question, as_json) if _is_one(batch, out, question, named, as_json) else None
    settings = Settings(
        system=system,
        think=think,
        tools=() if tools is None else read_tool_file(tools),
        constrain_tools=not free_calls,
        schema=None if schema is None else read_schema_file(schema),
        media=MediaOptions(
            image_tokens=image_tokens,
            video=VideoOptions(num_frames=video_frames, frames_per_s=None),
            video_sound=video_sound,
            trim=trim,
        ),
        sampling=SamplingParams(
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
            presence_penalty=presence_penalty,
            frequency_penalty=frequency_penalty,
            seed=seed,
            max_tokens=max_tokens,
            min_tokens=min_tokens,
            max_thought_tokens=max_thought_tokens,
            stop=() if stop is None else tuple(stop),
        ),
    )
    files = None if batch is None or out is None else BatchFiles.read(batch, out, settings)
    attached = attachments.attachments(image, audio, video)
    gemma = open_model(source, Loading(device=device, dtype=dtype, offline=offline, drafter=drafter), screen)
    if files is not None:
        raise typer.Exit(run_batch(gemma, files, screen))
    if question is None:
        _converse(Conversation(gemma, source, settings, screen, attached))
    elif as_json:
        answer_as_json(gemma, attachments.question(question, attached), settings, source)
    else:
        answer_once(gemma, attachments.question(question, attached), settings, screen)


def _is_one(
    batch: Path | None, out: Path | None, question: str | None, media: Sequence[str], as_json: bool
) -> bool:
    """Whether no file of questions is given.  Raises BadOption for what does not go with one."""
    if (batch is None) != (out is None):
        raise BadOption("--batch FILE and --out FILE go together: the questions and where the answers go")
    if batch is None:
        return True
    if question is not None:
        raise BadOption(f"--batch reads its questions from {batch}, and there is a prompt too; leave one out")
    if media:
        raise BadOption(f"--batch has its media in the messages of {batch}; name {media[0]} there")
    if as_json:
        raise BadOption("--batch writes JSON to --out anyway; leave out --json")
    return False


def _whole_question(prompt: str | None, as_json: bool) -> str | None:
    """The prompt with what is piped in; None for a conversation.  Raises EmptyPrompt, BadOption."""
    question = with_piped(prompt, piped_text())
    if question is None and not sys.stdin.isatty():
        raise EmptyPrompt("there is nothing to answer: standard input is empty; give a prompt, or pipe one")
    if question is None and as_json:
        raise BadOption("--json answers one prompt; give it, or pipe it")
    return question


def _converse(conversation: "Conversation") -> None:
    from gemcut.cli.chat import chat
    from gemcut.cli.line_editor import LineEditor
    from gemcut.cli.slash import COMMANDS

    conversation.screen.note(f"{conversation.source} · /help lists what you can type, Ctrl-D leaves")
    chat(conversation, LineEditor(list(COMMANDS)), conversation.screen)
