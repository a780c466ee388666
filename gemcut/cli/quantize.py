"""`gemcut quantize`: a model's weights in int4 or int8, in a folder of their own."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from gemcut.cli.figures import size
from gemcut.cli.options import Offline, Overwrite, Source
from gemcut.cli.screen import Screen
from gemcut.errors import BadOption

Form = Literal["int4", "int8"]
Choice = Literal["int4", "int8", "none"]
To = Annotated[Form, typer.Option(help="int4: 4.5 bits a weight. int8: 8.5 bits, and hardly a loss.")]
OutFolder = Annotated[
    Path, typer.Option(metavar="DIR", help="Where the quantised model goes.", file_okay=False)
]
Embedding = Annotated[
    Choice | None,
    typer.Option(help="The embedding, which is the output head too; none keeps it.  [default: as --to says]"),
]
PerLayerTable = Annotated[
    Choice | None,
    typer.Option(help="E2B's and E4B's per-layer embeddings; none keeps them.  [default: as --to says]"),
]


def quantize(
    model: Source,
    to: To,
    out: OutFolder,
    embedding: Embedding = None,
    per_layer_table: PerLayerTable = None,
    overwrite: Overwrite = False,
    offline: Offline = False,
) -> None:
    """Write a model with its weights in int4 or int8; `gemcut run DIR` runs it.

    The decoder's matrices are quantised in groups of 32; norms and what sees and hears stay as they are.
    It goes tensor by tensor: no more than some of the model is in memory.
    """
    screen = Screen()
    with screen.waiting("loading torch …"):  # here: it takes seconds, and --help needs none
        from gemcut.checkpoint.find import find_checkpoint
        from gemcut.cli.progress import counted
        from gemcut.config import Quantization
        from gemcut.kernels.block_layout import VALUES
        from gemcut.opened import open_checkpoint
        from gemcut.quant.quantize import Quantizing

    def form(choice: Choice | None) -> Form | None:
        return to if choice is None else None if choice == "none" else choice

    scheme = Quantization(projections=to, embedding=form(embedding), per_layer_table=form(per_layer_table))
    source = open_checkpoint(find_checkpoint(model, offline=offline, progress=screen.note))
    if per_layer_table is not None and not source.config.text.hidden_size_per_layer_input:
        raise BadOption(f"{model} has no per-layer embeddings; leave out --per-layer-table")
    work = Quantizing(source=source, quantization=scheme)
    with counted(work.tensors(), work.num_bytes, of=lambda item: item[1].nbytes) as tensors:
        work.write(out, tensors, overwrite=overwrite)
    if work.kept:
        screen.note(f"{len(work.kept)} matrices stay as they are: their rows are no multiple of {VALUES}")
    screen.note(f"{size(work.num_bytes)} of weights; run it with: gemcut run {out}")
    print(out)
