"""A model in the precisions that it is measured in: as it is stored, or made of that for the time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gemcut.checkpoint.gguf_write import GgufKind
from gemcut.config import BlockForm
from gemcut.errors import BadOption
from gemcut.fit.weights import PRECISIONS, Weights, count_weights
from gemcut.load import Dtype, pick_dtype
from gemcut.opened import Opened, open_checkpoint
from gemcut.quant.forms import EVERYTHING
from gemcut.quant.quantize import Quantizing

CHOICES = ("stored", *PRECISIONS)
BLOCKS: Mapping[str, BlockForm] = {"int8": "int8", "int4": "int4"}
KINDS: Mapping[str, GgufKind] = {"bf16": "BF16", "int8": "Q8_0", "int4": "Q4_0"}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One precision of a model.

    name: as tables call it: bf16, int4, float32, "int4+int8".  dtype: what it is loaded in, None for its own.
    making: how its files come about; None where it is loaded from the source's.
    kind: of the matrices in a GGUF file of it; None: as they are stored.
    """

    name: str
    source: Opened
    dtype: Dtype | None
    making: Quantizing | None
    kind: GgufKind | None

    @property
    def num_bytes(self) -> int:
        """Of the files that are made for it."""
        return 0 if self.making is None else self.making.num_bytes

    def placed(self, folder: Path) -> Opened:
        """Where it can be loaded from: the source, or what is made of it now in that folder."""
        if self.making is None:
            return self.source
        self.making.write(folder / self.name, self.making.tensors(), overwrite=False)
        return open_checkpoint(folder / self.name)


def variants(source: Opened, choices: Sequence[str]) -> tuple[Variant, ...]:
    """The precisions that are asked for, each once: of CHOICES.  Raises BadOption for one that cannot be."""
    made = [_variant(source, choice) for choice in choices]
    return tuple({variant.name: variant for variant in made}.values())


def stored_name(source: Opened) -> str:
    """What precision a checkpoint is in: "bf16", "int8", "int4", "int4+int8", "float32"."""
    if source.blocks:
        return "+".join(sorted(set(source.blocks.values())))
    return "bf16" if source.config.dtype == "bfloat16" else source.config.dtype


def weights_of(placed: Opened, dtype: Dtype | None) -> Weights:
    """What its steps read and multiply.  dtype: what it is loaded in, None for its own."""
    return count_weights(placed.config.text, placed.blocks, pick_dtype(dtype, placed.config).itemsize)


def _variant(source: Opened, choice: str) -> Variant:
    if choice not in CHOICES:
        raise BadOption(f"--precision is {choice!r}; it may be {', '.join(CHOICES)}")
    stored = stored_name(source)
    if choice in ("stored", stored):
        return Variant(name=stored, source=source, dtype=None, making=None, kind=None)
    if choice in BLOCKS:
        making = Quantizing(source=source, quantization=EVERYTHING[BLOCKS[choice]])
        return Variant(name=choice, source=source, dtype=None, making=making, kind=KINDS[choice])
    if source.blocks:
        raise BadOption(f"{source.place} is in {stored} and cannot be bf16 again; name the original model")
    return Variant(name=choice, source=source, dtype="bfloat16", making=None, kind=KINDS[choice])
