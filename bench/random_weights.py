"""Random weights in a size's real shapes, in a folder that gemcut loads: for speed and memory.

    python -m bench.random_weights 26b --to int4 --files FOLDER --out DIR

Text only.  FOLDER holds the hub's small files of any size: tokenizer and template are taken from it.
A tensor is in memory at a time, so a machine needs the disk's room and no more.
"""

import argparse
from collections.abc import Iterator
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from gemcut.checkpoint.config_file import MEDIA_TOKENS, SOFT_TOKENS_PER_IMAGE
from gemcut.checkpoint.write import write_checkpoint
from gemcut.config import BlockForm, ModelConfig, QuantizedConfig, TextConfig
from gemcut.family import family
from gemcut.kernels.block_layout import BLOCK_BYTES, SCALE_BYTES, VALUES
from gemcut.model.text_tensors import Shape, text_tensors
from gemcut.quant.forms import EVERYTHING, block_bytes, form_in_blocks
from gemcut.quant.quantize import CARRIED, SHARD_BYTES

SPREAD: dict[BlockForm, float] = {"int4": 4.6, "int8": 74.0}  # of whole numbers of which each is as likely


def tensors(text: TextConfig, form: BlockForm | None) -> Iterator[tuple[str, Tensor]]:
    """Each tensor of a decoder: in blocks where it can be, else bfloat16; norms and scales are 1."""
    generator = torch.Generator().manual_seed(0)
    for name, shape in text_tensors(text).items():
        in_blocks = form and form_in_blocks(name, shape, EVERYTHING[form])
        if in_blocks:
            yield name, _blocks(shape, in_blocks, generator)
        elif len(shape) == 1:
            yield name, torch.ones(shape, dtype=torch.bfloat16)
        else:
            made = torch.empty(shape, dtype=torch.bfloat16)
            yield name, made.normal_(0, shape[-1] ** -0.5, generator=generator)


def _blocks(shape: Shape, form: BlockForm, generator: torch.Generator) -> Tensor:
    """(..., in) -> (..., bytes of a row): whole numbers by chance, under one scale."""
    total = block_bytes(shape, form)
    words = torch.empty(total // 8 + 1, dtype=torch.int64).random_(generator=generator)
    blocks = words.view(torch.uint8)[:total].view(-1, BLOCK_BYTES[form])
    scale = torch.tensor([shape[-1] ** -0.5 / SPREAD[form]], dtype=torch.float16)
    blocks[:, :SCALE_BYTES] = scale.view(torch.uint8)
    return blocks.view(*shape[:-1], shape[-1] // VALUES * BLOCK_BYTES[form])


def config_of(text: TextConfig) -> ModelConfig:
    """A decoder's config as that of a model that neither sees nor hears."""
    return ModelConfig(
        text=text, vision=None, audio=None, media_tokens=MEDIA_TOKENS,
        soft_tokens_per_image=SOFT_TOKENS_PER_IMAGE, dtype="bfloat16",
    )  # fmt: skip


def main() -> None:
    """Write the folder that the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("size")
    parser.add_argument("--to", choices=[*BLOCK_BYTES, "bf16"], default="int4")
    parser.add_argument("--files", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    form: BlockForm | None = None if args.to == "bf16" else args.to
    text = family(args.size).size.text
    config = config_of(text)
    files = {name: (args.files / name).read_bytes() for name in CARRIED if (args.files / name).is_file()}
    whole = config if form is None else QuantizedConfig(model=config, quantization=EVERYTHING[form])
    write_checkpoint(args.out, whole, tensors(text, form), shard_bytes=SHARD_BYTES, extra_files=files)
    values = sum(prod(shape) for shape in text_tensors(text).values())
    print(f"{args.out}: {values / 1e9:.2f} billion weights of {args.size} by chance, in {args.to}")


if __name__ == "__main__":
    main()
