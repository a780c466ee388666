"""The arguments and options that commands share, each with its help text."""

from pathlib import Path
from typing import Annotated

import typer

Source = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A size (`gemcut list`), a hub id, a folder, or a GGUF file.",
        show_default=False,
    ),
]
System = Annotated[str | None, typer.Option(help="The system prompt: what the model should be and do.")]
Think = Annotated[bool, typer.Option("--think/--no-think", help="Let the model think before it answers.")]
Tools = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A JSON list of tools (OpenAI function schemas); calls are printed, not carried out.",
        exists=True,
        dir_okay=False,
        readable=True,
    ),
]
FreeCalls = Annotated[
    bool,
    typer.Option("--free-calls", help="Let calls be what the model writes, not only what FILE declares."),
]
Schema = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A JSON schema that the answer must follow.",
        exists=True,
        dir_okay=False,
        readable=True,
    ),
]
Image = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE", help="A picture to look at: a file or a URL; may be repeated."),
]
Audio = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE", help="A sound to listen to, up to 30 s: a file or a URL; may be repeated."),
]
Video = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE", help="A video to watch: a file or a URL; may be repeated."),
]
ImageTokens = Annotated[
    int | None,
    typer.Option(
        help="The most tokens of a picture: 70, 140, 280, 560 or 1120. More show more.  [default: 280]"
    ),
]
VideoFrames = Annotated[
    int | None, typer.Option(help="How many frames of a video are seen.  [default: 32, evenly spread]")
]
VideoSound = Annotated[bool, typer.Option("--video-sound", help="Listen to the sound of videos too.")]
Trim = Annotated[bool, typer.Option("--trim", help="Cut sound after 30 s instead of refusing it.")]
Temperature = Annotated[float | None, typer.Option(help="Randomness; 0 always takes the likeliest token.")]
TopK = Annotated[int | None, typer.Option(help="Draw from this many likeliest tokens only.")]
TopP = Annotated[
    float | None, typer.Option(help="Draw from the likeliest tokens that make up this probability.")
]
MinP = Annotated[
    float | None, typer.Option(help="Drop tokens below this share of the likeliest one's probability.")
]
RepetitionPenalty = Annotated[
    float | None, typer.Option(help="Above 1, tokens that were said become unlikelier.")
]
PresencePenalty = Annotated[
    float, typer.Option(help="Above 0, tokens that the answer has become unlikelier, -2 to 2.")
]
FrequencyPenalty = Annotated[
    float, typer.Option(help="Above 0, they do so each time they come again, -2 to 2.")
]
Seed = Annotated[int | None, typer.Option(help="Same seed, same answer.")]
MaxTokens = Annotated[int | None, typer.Option(help="Stop after this many tokens, thoughts included.")]
MinTokens = Annotated[int, typer.Option(help="Do not stop before this many tokens.")]
Stop = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", help="Stop where the answer comes to this text; may be repeated."),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …  [default: a GPU where there is one]")]
Dtype = Annotated[
    str | None, typer.Option(help="bfloat16, float16 or float32  [default: as the checkpoint has it]")
]
Drafter = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="The model's assistant, which guesses ahead: a size, a hub id, a folder. The answer stays.",
    ),
]
MaxThoughtTokens = Annotated[int | None, typer.Option(help="Close the thoughts after this many tokens.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never ask the network: only what is on disk.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Batch = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help='Answer a file of questions together: JSON lines with "prompt" or "messages".',
        exists=True,
        dir_okay=False,
        readable=True,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Where the answers go, a line each as it is done. Started again, --batch goes on there.",
        dir_okay=False,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
