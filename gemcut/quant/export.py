"""A checkpoint's text model as a GGUF file for llama.cpp: what `gemcut export` writes.

Source: llama.cpp, conversion/gemma.py and conversion/base.py, as in llama-cpp-python 0.3.36.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gemcut.checkpoint.block_names import DECODER, form_of
from gemcut.checkpoint.gguf_config import ARCHITECTURE, ENDS, MORE_ENDS, config_pairs, sampling_pairs
from gemcut.checkpoint.gguf_names import ROPE_FACTORS, gguf_name
from gemcut.checkpoint.gguf_vocab import MODEL, GgufVocab
from gemcut.checkpoint.gguf_write import GgufEntry, GgufKind, write_gguf
from gemcut.checkpoint.weights import WeightFiles
from gemcut.config import BlockForm, TextConfig
from gemcut.errors import BadOption, BadTokenizer, BadWeightFile
from gemcut.kernels.block_layout import BLOCK_BYTES, VALUES
from gemcut.kernels.blocks import from_blocks
from gemcut.model.layer_plan import unused_tensors
from gemcut.opened import Opened
from gemcut.quant.forms import EVERYTHING, block_bytes, form_in_blocks
from gemcut.quant.quantize import finite_blocks

DTYPES: dict[GgufKind, torch.dtype] = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
FORMS: dict[GgufKind, BlockForm] = {"Q4_0": "int4", "Q8_0": "int8"}
KIND_OF_DTYPE = {dtype: kind for kind, dtype in DTYPES.items()}
KIND_OF_FORM = {form: kind for kind, form in FORMS.items()}
FILE_TYPES: dict[GgufKind, int] = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 7, "BF16": 32}  # LlamaFileType
QUANTIZATION_VERSION = 2  # of the blocks, ggml's GGML_QUANT_VERSION
PIECE_VALUES = 2**22  # changed at a time: 16 MiB in float32
NOT_ROTATED = 1e30  # an angle is divided by it
SCORE = -1000.0  # the converter's, for every token
# Marks that llama.cpp is to print, because its parser of replies looks for them.
VISIBLE = (
    "<|channel>",
    "<channel|>",
    "<|tool_call>",
    "<tool_call|>",
    "<|tool_response>",
    "<tool_response|>",
    '<|"|>',
)
MASK = "<mask>"
ORDINARY, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 3, 4, 5, 6
BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")


@dataclass(frozen=True, kw_only=True)
class Exporting:
    """A checkpoint on its way into a GGUF file.

    kind: of its matrices; None: each as it is in the checkpoint.
    """

    source: Opened
    kind: GgufKind | None

    def __post_init__(self) -> None:
        """Raises BadOption for a GGUF file, WeightMismatch for a checkpoint that is not whole."""
        if not isinstance(self.source.weights, WeightFiles):
            raise BadOption(
                f"{self.source.place} is a GGUF file already; export a folder, a size or a hub id"
            )
        self.source.check_decoder()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know: which matrices are not as was asked for."""
        names, blocks = self._names(), self.source.blocks
        form = None if self.kind is None else FORMS.get(self.kind)
        wanted = [] if form is None else [name for name in names if form_of(name, EVERYTHING[form])]
        kept = [name for name in wanted if self._entry(name).kind != self.kind]
        anew = [
            name for name in names if name in blocks and self._entry(name).kind != KIND_OF_FORM[blocks[name]]
        ]
        notes = []
        if kept:
            notes.append(f"{len(kept)} matrices stay as they are: their rows are no multiple of {VALUES}")
        if anew:
            notes.append(f"{len(anew)} matrices were rounded to blocks before; the original model loses less")
        return tuple(notes)

    def entries(self) -> list[GgufEntry]:
        """What will be written, in the order of the checkpoint's files.

        Raises BadOption for a tensor that llama.cpp's gemma4 has no place for.
        """
        return [_rope_entry(self.source.config.text), *map(self._entry, self._names())]

    def pieces(self) -> Iterator[Tensor]:
        """The bytes of the entries in their order, a run of rows of each at a time.

        Raises BadWeightFile for a weight that is no finite number of its type.
        """
        kinds = {entry.name: entry.kind for entry in self.entries()}
        yield _rope_factors(self.source.config.text)
        for name, tensor in self.source.weights.stream(self._names()):
            rows = tensor.reshape(-1, tensor.shape[-1])
            for some in torch.split(rows, max(1, PIECE_VALUES // rows.shape[1])):
                yield self._converted(name, some, kinds[gguf_name(name)])

    def pairs(self) -> Mapping[str, Any]:
        """The metadata, the vocabulary and the chat template among them.

        Raises BadOption for a model that llama.cpp cannot compute, BadTokenizer, TemplateFailed.
        """
        config = self.source.config
        return {
            "general.architecture": ARCHITECTURE,
            "general.type": "model",
            "general.name": model_name(self.source.place),
            "general.file_type": FILE_TYPES[_most(self.entries()) if self.kind is None else self.kind],
            "general.quantization_version": QUANTIZATION_VERSION,
            **sampling_pairs(self.source.generation),
            **config_pairs(config.text),
            **_vocab_pairs(_vocab(self.source), self.source),
        }

    def write(self, out: Path, pieces: Iterator[Tensor], *, overwrite: bool) -> None:
        """Write the file.  pieces: those of `pieces`, on which somebody may look in between.

        Raises BadOption where there is such a file already and `overwrite` is false, or it cannot be written.
        """
        refuse_existing(out, overwrite)
        write_gguf(out, self.pairs(), self.entries(), pieces)

    def _names(self) -> list[str]:
        unused = unused_tensors(self.source.config.text)
        return [
            name for name in self.source.weights.tensors if name.startswith(DECODER) and name not in unused
        ]

    def _entry(self, name: str) -> GgufEntry:
        info, form = self.source.weights.tensors[name], self.source.blocks.get(name)
        shape = info.shape
        if form is not None:
            shape = (*shape[:-1], shape[-1] // BLOCK_BYTES[form] * VALUES)
        kind = self._kind(name, shape)
        num_bytes = block_bytes(shape, FORMS[kind]) if kind in FORMS else prod(shape) * DTYPES[kind].itemsize
        return GgufEntry(name=gguf_name(name), kind=kind, shape=shape, num_bytes=num_bytes)

    def _kind(self, name: str, shape: tuple[int, ...]) -> GgufKind:
        """What llama.cpp wants: norms, scalars and routers in F32, and matrices as was asked for.

        A matrix that does not go into blocks, because its rows do not fit or because llama.cpp keeps it,
        stays in the dtype that it has.
        """
        if len(shape) == 1 or ".router." in name:
            return "F32"
        form = self.source.blocks.get(name)
        own = (
            KIND_OF_DTYPE.get(self.source.weights.tensors[name].dtype) if form is None else KIND_OF_FORM[form]
        )
        own = "F32" if own is None else own
        if self.kind is None:
            return own
        if self.kind in FORMS and form_in_blocks(name, shape, EVERYTHING[FORMS[self.kind]]) is None:
            return own
        return self.kind

    def _converted(self, name: str, rows: Tensor, kind: GgufKind) -> Tensor:
        """Rows of a tensor of the checkpoint as their bytes are to lie in the file."""
        form = self.source.blocks.get(name)
        if form is not None:
            if kind == KIND_OF_FORM[form]:
                return rows
            rows = from_blocks(rows, form, torch.float32)
        if kind in FORMS:
            return finite_blocks(rows, FORMS[kind], f"{self.source.place}: {name}")
        made = rows.to(DTYPES[kind])
        if made.dtype == torch.float16 and not made.isfinite().all():
            raise BadWeightFile(
                f"{self.source.place}: {name} has values that float16 does not hold; export it as bf16"
            )
        return made


def _most(entries: list[GgufEntry]) -> GgufKind:
    """The type of most values."""
    counts: Counter[GgufKind] = Counter()
    for entry in entries:
        counts[entry.kind] += prod(entry.shape)
    return counts.most_common(1)[0][0]


def model_name(place: Path) -> str:
    """What a model is called: its folder; in the hub's cache, which names folders by hashes, the model."""
    place = place.resolve()
    if place.parent.name == "snapshots":  # models--google--gemma-4-E2B-it/snapshots/0a1b2c…
        return place.parent.parent.name.rpartition("--")[2]
    return place.name


def refuse_existing(out: Path, overwrite: bool) -> None:
    """Raises BadOption where there is such a file already and `overwrite` is false."""
    if out.exists() and not overwrite:
        raise BadOption(f"{out} is there already; name another file or allow overwriting")


def _rope_entry(text: TextConfig) -> GgufEntry:
    pairs = text.global_head_dim // 2
    return GgufEntry(name=ROPE_FACTORS, kind="F32", shape=(pairs,), num_bytes=pairs * torch.float32.itemsize)


def _rope_factors(text: TextConfig) -> Tensor:
    """1 for the pairs of a full-attention head that are rotated, and for the others what stops them."""
    factors = torch.full((text.global_head_dim // 2,), NOT_ROTATED)
    factors[: int(text.global_rope.rotated * text.global_head_dim // 2)] = 1.0
    return factors


def _vocab(source: Opened) -> GgufVocab:
    """The vocabulary of a folder's tokenizer, as long as the embedding."""
    tokenizer = source.tokenizer()
    said = tokenizer.description()
    text, special = source.config.text, tokenizer.special
    pieces = {number: piece for piece, number in said["model"]["vocab"].items()}
    pieces |= {token["id"]: token["content"] for token in said["added_tokens"]}
    last = max(*pieces, *source.generation.stop_ids, *source.generation.suppress_ids)
    if last >= text.vocab_size:
        raise BadTokenizer(
            f"{source.place} names the token {last} and the model's ids end at {text.vocab_size - 1}; use the"
            " model's own tokenizer.json and generation_config.json"
        )
    tokens = [pieces.get(number, f"[PAD{number}]") for number in range(text.vocab_size)]
    if len(set(tokens)) < len(tokens):
        raise BadTokenizer(
            f"the tokenizer in {source.place} has a token twice; use the model's own tokenizer.json"
        )
    if not said["model"]["merges"]:
        raise BadTokenizer(f"the tokenizer in {source.place} joins nothing, and llama.cpp needs its merges")
    kinds = [UNUSED if number not in pieces else _kind_of_token(piece) for number, piece in enumerate(tokens)]
    for number in pieces:
        if tokenizer.is_control(number):
            kinds[number] = USER_DEFINED if tokens[number] in VISIBLE else CONTROL
    return GgufVocab(
        tokens=tuple(tokens),
        kinds=tuple(kinds),
        merges=tuple(_pair(merge) for merge in said["model"]["merges"]),
        bos_id=special.bos,
        eos_id=special.eos,
        unknown_id=special.unk,
        pad_id=special.pad,
        chat_template=source.template().source,
    )


def _kind_of_token(piece: str) -> int:
    return BYTE if BYTE_TOKEN.fullmatch(piece) else ORDINARY


def _pair(merge: str | list[str]) -> tuple[str, str]:
    """A merge in either of the ways in which tokenizer.json has them."""
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return left, right


def _vocab_pairs(vocab: GgufVocab, source: Opened) -> Mapping[str, Any]:
    pairs: dict[str, Any] = {
        "model": MODEL,
        "tokens": vocab.tokens,
        "scores": (SCORE,) * len(vocab.tokens),
        "token_type": vocab.kinds,
        "merges": tuple(" ".join(pair) for pair in vocab.merges),
        "bos_token_id": vocab.bos_id,
        "eos_token_id": vocab.eos_id,
        "unknown_token_id": vocab.unknown_id,
        "padding_token_id": vocab.pad_id,
        "add_space_prefix": False,
        "add_bos_token": True,
        **_more_ends(vocab, source),
    }
    if MASK in vocab.tokens:
        pairs["mask_token_id"] = vocab.tokens.index(MASK)
    if source.generation.suppress_ids:
        pairs["suppress_tokens"] = source.generation.suppress_ids
    return {
        **{f"tokenizer.ggml.{key}": value for key, value in pairs.items()},
        "tokenizer.chat_template": vocab.chat_template,
    }


def _more_ends(vocab: GgufVocab, source: Opened) -> Mapping[str, int]:
    """Where to stop besides the tokens at which every Gemma 4 does.  Raises BadOption for more than fit."""
    stop_ids = source.generation.stop_ids
    more = [number for number in stop_ids if number != vocab.eos_id and vocab.tokens[number] not in ENDS]
    if len(more) > len(MORE_ENDS):
        raise BadOption(
            f"{source.place} stops at {len(stop_ids)} tokens, and a GGUF file has no place for more than"
            f" {len(MORE_ENDS)} besides {' '.join(ENDS)}; shorten eos_token_id in its generation_config.json"
        )
    return {f"{name}_token_id": number for name, number in zip(MORE_ENDS, more, strict=False)}
