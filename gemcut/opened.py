"""A checkpoint before its weights are read: a folder in the hub's layout, gemcut's own, or a GGUF file."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import torch

from gemcut.checkpoint.block_names import PER_LAYER_TABLE, form_of
from gemcut.checkpoint.config_file import CONFIG_FILE, read_config, read_generation_config
from gemcut.checkpoint.gguf_config import check_architecture, gguf_config, gguf_generation
from gemcut.checkpoint.gguf_header import read_gguf_header
from gemcut.checkpoint.gguf_vocab import GgufVocab, gguf_vocab
from gemcut.checkpoint.gguf_weights import OTHERS, GgufWeights, open_gguf_weights
from gemcut.checkpoint.quantization_section import read_quantization
from gemcut.checkpoint.weights import WeightFiles
from gemcut.config import BlockForm, GenerationConfig, ModelConfig
from gemcut.errors import TemplateFailed, WeightMismatch
from gemcut.kernels.block_layout import BLOCK_BYTES, VALUES
from gemcut.model.text_tensors import text_tensors
from gemcut.prompt.template import ChatTemplate
from gemcut.prompt.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What a checkpoint says of itself.

    place: the folder or the file.  blocks: the form of each tensor that is in blocks, or is to be.
    vocab: what a GGUF file says of tokens, None for a folder.  notes: what its user should know.
    """

    place: Path
    config: ModelConfig
    generation: GenerationConfig
    weights: WeightFiles | GgufWeights
    blocks: Mapping[str, BlockForm]
    vocab: GgufVocab | None
    notes: tuple[str, ...]

    def num_values(self, name: str) -> int:
        """How many numbers a tensor stands for."""
        info, form = self.weights.tensors[name], self.blocks.get(name)
        values = prod(info.shape)
        if name == PER_LAYER_TABLE and self.table_kind is not None:
            _, of_block, num_bytes = OTHERS[self.table_kind]
            return values // num_bytes * of_block
        return values if form is None or info.dtype != torch.uint8 else values // BLOCK_BYTES[form] * VALUES

    @property
    def table_kind(self) -> int | None:
        """See `GgufWeights`."""
        return self.weights.table_kind if isinstance(self.weights, GgufWeights) else None

    def check_decoder(self) -> None:
        """Raises WeightMismatch where a tensor of the decoder is missing or has another shape.

        Loading finds that out by itself; this is for who copies tensors without a model.
        """
        for name, shape in text_tensors(self.config.text).items():
            if name not in self.weights.tensors:
                raise WeightMismatch(f"{self.place} lacks {name}, of shape {list(shape)}; download it again")
            if self.num_values(name) != prod(shape):
                found = list(self.weights.tensors[name].shape)
                raise WeightMismatch(
                    f"{self.place} has {name} {found} for {list(shape)}; download it again, or correct"
                    " config.json"
                )

    def tokenizer(self) -> Tokenizer:
        """Reads it.  Raises BadTokenizer."""
        if self.vocab is None:
            return Tokenizer.from_folder(self.place)
        return Tokenizer.from_vocab(self.vocab, self.place)

    def template(self) -> ChatTemplate:
        """Reads it.  Raises TemplateFailed."""
        if self.vocab is None:
            return ChatTemplate.from_folder(self.place)
        if self.vocab.chat_template is None:
            raise TemplateFailed(
                f"{self.place} has no chat template; take a GGUF file of an instruction-tuned model"
            )
        return ChatTemplate(self.vocab.chat_template)


def open_checkpoint(place: Path) -> Opened:
    """The checkpoint that `find_checkpoint` found; only headers are read.

    Raises CheckpointError, and BadTokenizer for a GGUF file without a vocabulary of Gemma 4.
    """
    return _open_gguf(place) if place.is_file() else _open_folder(place)


def _open_folder(folder: Path) -> Opened:
    config, weights = read_config(folder), WeightFiles.open(folder)
    quantization = read_quantization(folder / CONFIG_FILE)
    in_blocks = [name for name, info in weights.tensors.items() if info.dtype == torch.uint8]
    forms = {} if quantization is None else {name: form_of(name, quantization) for name in in_blocks}
    return Opened(
        place=folder,
        config=config,
        generation=read_generation_config(folder),
        weights=weights,
        blocks={name: form for name, form in forms.items() if form is not None},
        vocab=None,
        notes=(),
    )


def _open_gguf(file: Path) -> Opened:
    header = read_gguf_header(file)
    check_architecture(header)
    vocab, weights = gguf_vocab(header), open_gguf_weights(header)
    config = gguf_config(header, vocab, weights)
    return Opened(
        place=file,
        config=config,
        generation=gguf_generation(header, vocab),
        weights=weights,
        blocks=weights.blocks,
        vocab=vocab,
        notes=weights.notes,
    )


def with_media_tokens(config: ModelConfig, tokenizer: Tokenizer) -> ModelConfig:
    """The config with the placeholders of the vocabulary: a GGUF file names them nowhere else."""
    found = tokenizer.special.media_tokens
    return config if found is None else replace(config, media_tokens=found)
