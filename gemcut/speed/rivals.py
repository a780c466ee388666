"""The programs that gemcut is measured beside: what each needs, and what it is given."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Protocol

from gemcut.errors import BadOption
from gemcut.opened import Opened, open_checkpoint
from gemcut.quant.export import Exporting
from gemcut.speed.order import Shape
from gemcut.speed.side import SideName
from gemcut.speed.variants import Variant, stored_name

HELP_S = 60  # how long a program may take to print its help
NEEDED = "--n-depth"  # of llama-bench: tokens that were read before those that are timed
OURS = ("-m", "-p", "-n", "-d", "-t", "-r", "-o", "-ngl")  # flags of llama-bench that are set here
OPTIONS = ("--model", "--n-prompt", "--n-gen", "--n-depth", "--threads", "--repetitions", "--output", "-pg")
SHARED_NUMBERS = (  # in which files of one model are alike
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "layer_types",
    "num_kv_shared_layers",
    "hidden_size_per_layer_input",
    "experts",
)
INSTALL = "pip install 'transformers>=5.23'"


@dataclass(frozen=True, kw_only=True)
class Running:
    """How a model is run.  threads: of the CPU.  device: torch's name of it."""

    threads: int
    device: str


class Rival(Protocol):
    """Another program that runs the model."""

    @property
    def name(self) -> SideName:
        """What people call it."""

    def check(self, variants: Sequence[Variant], shapes: Sequence[Shape]) -> None:
        """Raises BadOption for what it cannot do, before any work."""

    def num_bytes(self, variant: Variant) -> int:
        """Of the file that is made for it."""

    def precision(self, variant: Variant) -> str:
        """What it runs where we run that."""

    def given(self, variant: Variant, placed: Opened, folder: Path, how: Running) -> Mapping[str, Any]:
        """What its side is built from.  Makes the file that it needs, in that folder."""


@dataclass(frozen=True, kw_only=True)
class LlamaCpp:
    """llama.cpp.

    program: its llama-bench.  gguf: the file that it runs; None makes one of the same weights.
    flags: more of its own, such as "--repack 0".
    """

    program: Path
    gguf: Path | None
    flags: tuple[str, ...]

    name: ClassVar[SideName] = "llama.cpp"

    def check(self, variants: Sequence[Variant], shapes: Sequence[Shape]) -> None:
        """Raises BadOption for prompts at once, for a file of another model, for a program that is none."""
        most = max(shape.batch for shape in shapes)
        if most > 1:
            raise BadOption(f"llama-bench reads one prompt at a time, and --batch is {most}; leave it out")
        taken = [flag for flag in self.flags if flag in (*OURS, *OPTIONS)]
        if taken:
            raise BadOption(
                f"{taken[0]} of llama-bench is set here, so that both measure the same; leave it out"
            )
        self._check_program()
        if self.gguf is not None:
            self._check_given(self.gguf, variants)
            return
        for variant in variants:
            if not _is_file(variant):
                exporting = Exporting(source=variant.source, kind=variant.kind)
                exporting.entries()
                exporting.pairs()

    def num_bytes(self, variant: Variant) -> int:
        """Of the file that is exported."""
        if self.gguf is not None or _is_file(variant):
            return 0
        return sum(one.num_bytes for one in Exporting(source=variant.source, kind=variant.kind).entries())

    def precision(self, variant: Variant) -> str:
        """The file's."""
        return variant.name if self.gguf is None else stored_name(open_checkpoint(self.gguf))

    def given(self, variant: Variant, placed: Opened, folder: Path, how: Running) -> Mapping[str, Any]:
        """The file: the one given, the one that we run too, or one that is written now."""
        if self.gguf is not None:
            file = self.gguf.resolve()
        elif _is_file(variant):
            file = placed.place.resolve()
        else:
            file = folder / f"{variant.name}.gguf"
            exporting = Exporting(source=placed, kind=variant.kind)
            exporting.write(file, exporting.pieces(), overwrite=False)
        return {
            "program": str(self.program.resolve()),
            "file": str(file),
            "threads": how.threads,
            "flags": list(self.flags),
            "on_cpu": how.device == "cpu",
        }

    def _check_program(self) -> None:
        program = self.program
        if not program.is_file() or not os.access(program, os.X_OK):
            raise BadOption(
                f"there is no program {program}; build llama.cpp and give its llama-bench: --llama-bench PATH"
            )
        try:
            told = subprocess.run(
                [program.resolve(), "--help"], capture_output=True, text=True, timeout=HELP_S, check=False
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise BadOption(f"{program} cannot be started ({error}); give llama.cpp's llama-bench") from None
        if NEEDED not in told.stdout + told.stderr:
            raise BadOption(
                f"{program} is no llama-bench, or an old one: its --help does not tell of {NEEDED}; "
                "build llama.cpp of 2025 or later"
            )

    def _check_given(self, gguf: Path, variants: Sequence[Variant]) -> None:
        if len(variants) > 1:
            names = ", ".join(variant.name for variant in variants)
            raise BadOption(
                f"--gguf is one file and there are several precisions ({names}); give one of them"
            )
        (variant,) = variants
        ours, theirs = variant.source.config.text, open_checkpoint(gguf).config.text
        if any(getattr(ours, name) != getattr(theirs, name) for name in SHARED_NUMBERS):
            raise BadOption(
                f"{gguf} is another model than {variant.source.place}; leave --gguf out to have one made"
            )


@dataclass(frozen=True, kw_only=True)
class Transformers:
    """The hub's library, with the checkpoint as it is on the hub, or rounded to bfloat16."""

    name: ClassVar[SideName] = "transformers"

    def check(self, variants: Sequence[Variant], shapes: Sequence[Shape]) -> None:
        """Raises BadOption where it is not installed, and for files that it does not read."""
        if find_spec("transformers") is None:
            raise BadOption(f"--vs transformers needs transformers, which is not installed; {INSTALL}")
        source = variants[0].source
        if source.place.is_file() or source.blocks:
            raise BadOption(
                f"transformers does not run {source.place} ({stored_name(source)}); name the original model, "
                "and say what gemcut is to run with --precision"
            )

    def num_bytes(self, variant: Variant) -> int:
        """None are made."""
        return 0

    def precision(self, variant: Variant) -> str:
        """The original's, or bfloat16 where we run it in that."""
        return "bf16" if variant.dtype is not None else stored_name(variant.source)

    def given(self, variant: Variant, placed: Opened, folder: Path, how: Running) -> Mapping[str, Any]:
        """The original folder, whatever we make of it."""
        own = variant.source.config.dtype
        return {
            "place": str(variant.source.place.resolve()),
            "device": how.device,
            "dtype": own if variant.dtype is None else variant.dtype,
            "threads": how.threads,
        }


def _is_file(variant: Variant) -> bool:
    """Whether what we run is a GGUF file already."""
    return variant.source.place.is_file() and variant.kind is None
