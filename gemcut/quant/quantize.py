"""A checkpoint's weights put into blocks, tensor by tensor: what `gemcut quantize` writes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from gemcut.checkpoint.block_names import form_of
from gemcut.checkpoint.config_file import GENERATION_FILE, generation_config_json
from gemcut.checkpoint.write import write_checkpoint
from gemcut.config import BlockForm, Quantization, QuantizedConfig
from gemcut.errors import BadOption, BadWeightFile
from gemcut.kernels.blocks import block_scales, to_blocks
from gemcut.model.layer_plan import unused_tensors
from gemcut.opened import Opened
from gemcut.quant.forms import block_bytes, form_in_blocks

SHARD_BYTES = 2**30  # held in memory until its file is written
CARRIED = (  # from a folder to what is made of it
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
    "processor_config.json",
)


@dataclass(frozen=True, kw_only=True)
class Quantizing:
    """One checkpoint on its way into blocks."""

    source: Opened
    quantization: Quantization

    def __post_init__(self) -> None:
        """Raises BadOption for a GGUF file and for blocks, WeightMismatch for what is not whole."""
        place = self.source.place
        if place.is_file():
            raise BadOption(
                f"{place} is a GGUF file, which runs as it is; to change its weights, take the original model"
            )
        if self.source.blocks:
            raise BadOption(f"{place} is in blocks already; start from the original model")
        self.source.check_decoder()

    @property
    def names(self) -> list[str]:
        """The tensors that are written, in the order of the files; those that nothing reads are left out."""
        unused = unused_tensors(self.source.config.text)
        return [name for name in self.source.weights.tensors if name not in unused]

    def form(self, name: str) -> BlockForm | None:
        """What the tensor is to be."""
        return form_in_blocks(name, self.source.weights.tensors[name].shape, self.quantization)

    @property
    def num_bytes(self) -> int:
        """Of all tensors that `tensors` gives."""
        total = 0
        for name in self.names:
            info, form = self.source.weights.tensors[name], self.form(name)
            total += info.num_bytes if form is None else block_bytes(info.shape, form)
        return total

    @property
    def kept(self) -> list[str]:
        """The tensors that the quantisation has in mind and that stay, because their rows do not fit."""
        return [name for name in self.names if self.form(name) != form_of(name, self.quantization)]

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Each tensor as it is to be written, in the order of the files; one is in memory at a time.

        Raises BadWeightFile for a weight that is no finite number.
        """
        for name, tensor in self.source.weights.stream(self.names):
            form = self.form(name)
            made = tensor if form is None else finite_blocks(tensor, form, f"{self.source.place}: {name}")
            yield name, made

    def write(self, out: Path, tensors: Iterator[tuple[str, Tensor]], *, overwrite: bool) -> None:
        """Write the folder.  tensors: those of `tensors`, on which somebody may look in between.

        See `write_checkpoint`: what is killed half-way leaves nothing that looks whole.
        """
        source, place = self.source, self.source.place
        files = {name: (place / name).read_bytes() for name in CARRIED if (place / name).is_file()}
        if json.loads(files.get(GENERATION_FILE, "{}")).get("eos_token_id") is None:
            # then the stop ids are in config.json, and ours has no place for several
            said = generation_config_json(source.generation, source.config.text)
            files[GENERATION_FILE] = json.dumps(said, indent=2).encode()
        config = QuantizedConfig(model=source.config, quantization=self.quantization)
        write_checkpoint(
            out, config, tensors, shard_bytes=SHARD_BYTES, extra_files=files, overwrite=overwrite
        )


def finite_blocks(tensor: Tensor, form: BlockForm, name: str) -> Tensor:
    """A weight's blocks.  Raises BadWeightFile for a weight that is no finite number; name: in the error."""
    if not tensor.is_floating_point():
        raise BadWeightFile(f"{name} is in {tensor.dtype}, which is no float; download it again")
    blocks = to_blocks(tensor, form)
    if not block_scales(blocks, form).isfinite().all():
        raise BadWeightFile(
            f"{name} has values that are no numbers, or too large for {form}; download it again"
        )
    return blocks
