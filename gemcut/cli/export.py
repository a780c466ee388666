"""`gemcut export`: a model as a GGUF file, for llama.cpp and what is built on it."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from gemcut.cli.figures import size
from gemcut.cli.options import Offline, Overwrite, Source
from gemcut.cli.screen import Screen

Type = Literal["q4_0", "q8_0", "bf16", "f16", "f32"]
Gguf = Annotated[
    Path, typer.Option(metavar="FILE", help="The file to write, with the text model.", dir_okay=False)
]
TypeOption = Annotated[
    Type | None, typer.Option("--type", help="Of the matrices.  [default: each as the model has it]")
]


def export(
    model: Source,
    gguf: Gguf,
    kind: TypeOption = None,
    overwrite: Overwrite = False,
    offline: Offline = False,
) -> None:
    """Write a model's text part as a GGUF file, tokenizer and chat template inside."""
    screen = Screen()
    with screen.waiting("loading torch …"):  # here: it takes seconds, and --help needs none
        from gemcut.checkpoint.find import find_checkpoint
        from gemcut.checkpoint.gguf_write import kind_of_name
        from gemcut.cli.progress import counted
        from gemcut.opened import open_checkpoint
        from gemcut.quant.export import Exporting

    work = Exporting(
        source=open_checkpoint(find_checkpoint(model, offline=offline, progress=screen.note)),
        kind=None if kind is None else kind_of_name(kind),
    )
    total = sum(entry.num_bytes for entry in work.entries())
    work.write(gguf, counted(work.tensors(), total, of=lambda tensor: tensor.nbytes), overwrite=overwrite)
    if work.source.config.vision is not None or work.source.config.audio is not None:
        screen.note("only the text part is exported: what sees and hears is not in the file")
    screen.note(f"{size(total)} of weights; run it with: gemcut run {gguf}")
    print(gguf)
