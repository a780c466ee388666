"""`gemcut export`: a model as a GGUF file, for llama.cpp and what is built on it."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from gemcut.cli.figures import size
from gemcut.cli.options import Offline, Overwrite, Source
from gemcut.cli.screen import Screen
from gemcut.errors import BadOption

Type = Literal["q4_0", "q8_0", "bf16", "f16", "f32"]
Gguf = Annotated[
    Path, typer.Option(metavar="FILE", help="The file to write, with the text model.", dir_okay=False)
]
Mmproj = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A second file, with what sees and hears.", dir_okay=False),
]
TypeOption = Annotated[
    Type | None, typer.Option("--type", help="Of the matrices.  [default: each as the model has it]")
]


def export(
    model: Source,
    gguf: Gguf,
    mmproj: Mmproj = None,
    kind: TypeOption = None,
    overwrite: Overwrite = False,
    offline: Offline = False,
) -> None:
    """Write a model's text part as a GGUF file, tokenizer and chat template inside.

    With --mmproj what sees and hears goes into a second file, as llama.cpp has it.
    """
    if mmproj is not None and mmproj.resolve() == gguf.resolve():
        raise BadOption(f"--gguf and --mmproj both name {gguf}; name a file for each")
    screen = Screen()
    with screen.waiting("loading torch …"):  # here: it takes seconds, and --help needs none
        from gemcut.checkpoint.find import find_checkpoint
        from gemcut.checkpoint.gguf_write import kind_of_name
        from gemcut.cli.progress import counted
        from gemcut.opened import open_checkpoint
        from gemcut.quant.export import Exporting, refuse_existing
        from gemcut.quant.export_media import ExportingMedia

    source = open_checkpoint(find_checkpoint(model, offline=offline, progress=screen.note))
    its_kind = None if kind is None else kind_of_name(kind)
    text = Exporting(source=source, kind=its_kind)
    files: dict[Path, Exporting | ExportingMedia] = {gguf: text}
    if mmproj is not None:
        files[mmproj] = ExportingMedia(source=source, kind=its_kind)
    elif source.config.vision is not None or source.config.audio is not None:
        screen.note("only the text part is exported; --mmproj FILE exports what sees and hears")
    for out in files:
        refuse_existing(out, overwrite)
    totals = {out: sum(entry.num_bytes for entry in work.entries()) for out, work in files.items()}
    for out, work in files.items():
        with counted(work.pieces(), totals[out], of=lambda piece: piece.nbytes) as pieces:
            work.write(out, pieces, overwrite=overwrite)
        screen.note(f"{size(totals[out])} of weights in {out}")
        print(out)
    for note in text.notes:
        screen.note(note)
