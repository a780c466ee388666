"""Folder and options to model, tokenizer and template: the only place where the parts meet."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from gemcut.checkpoint.block_names import PER_LAYER_TABLE
from gemcut.checkpoint.drafter_section import read_drafter_config
from gemcut.checkpoint.find import find_checkpoint, find_drafter
from gemcut.checkpoint.gguf_weights import GgufWeights
from gemcut.checkpoint.weights import WeightFiles
from gemcut.config import BlockForm, DrafterConfig, GenerationConfig, ModelConfig, TextConfig
from gemcut.errors import BadConfig, BadOption, BadTokenizer, BadWeightFile, WeightMismatch
from gemcut.kernels.block_layout import VALUES
from gemcut.kernels.blocks import to_blocks
from gemcut.model.drafter import Drafter
from gemcut.model.gemma4 import Gemma4
from gemcut.model.layer_plan import unused_tensors
from gemcut.opened import Opened, open_checkpoint, with_media_tokens
from gemcut.prompt.template import ChatTemplate
from gemcut.prompt.tokenizer import Tokenizer
from gemcut.quant.modules import use_blocks, use_gguf_table

Dtype = Literal["bfloat16", "float16", "float32", "float64"]
FLOATS = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
SHARED_NUMBERS = (  # in which a drafter must be like its target
    "vocab_size",
    "num_key_value_heads",
    "num_global_key_value_heads",
    "head_dim",
    "global_head_dim",
    "sliding_window",
    "local_rope",
    "global_rope",
)


@dataclass(frozen=True)
class Loaded:
    """A model ready to run, with all that belongs to it.

    folder: where it is from, or the GGUF file.  notes: what its user should know of the way it was loaded.
    """

    folder: Path
    config: ModelConfig
    generation: GenerationConfig
    model: Gemma4
    tokenizer: Tokenizer
    template: ChatTemplate
    drafter: Drafter | None
    notes: tuple[str, ...] = ()


def load(
    source: str, *, device: str | None, dtype: Dtype | None, offline: bool, drafter: str | None = None
) -> Loaded:
    """A model from a size's name, a hub id, a folder or a GGUF file.

    device: None takes a GPU where there is one.  dtype: None takes what config.json says.
    drafter: the model's assistant, likewise.
    Raises the errors of gemcut.errors for anything that is missing, damaged or impossible.
    """
    opened = open_checkpoint(find_checkpoint(source, offline=offline))
    beside = None if drafter is None else find_drafter(drafter, offline=offline)
    config, generation, tokenizer = opened.config, opened.generation, opened.tokenizer()
    if opened.vocab is not None:
        config = with_media_tokens(config, tokenizer)
    place, kind = pick_device(device), pick_dtype(dtype, config)
    _check_ids(opened.place, config.text.vocab_size, tokenizer, generation)
    return Loaded(
        folder=opened.place,
        config=config,
        generation=generation,
        drafter=None if beside is None else load_drafter(beside, config.text, place, kind),
        model=load_model(opened, config, place, kind),
        tokenizer=tokenizer,
        template=opened.template(),
        notes=opened.notes,
    )


def _check_ids(folder: Path, vocab_size: int, tokenizer: Tokenizer, generation: GenerationConfig) -> None:
    """Raises BadTokenizer or BadConfig for ids that the model's embedding has no row for."""
    if tokenizer.vocab_size > vocab_size:
        raise BadTokenizer(
            f"the tokenizer in {folder} has {tokenizer.vocab_size} tokens and the model {vocab_size};"
            " give the model its own tokenizer"
        )
    beyond = [number for number in generation.stop_ids + generation.suppress_ids if number >= vocab_size]
    if beyond:
        raise BadConfig(
            f"generation_config.json in {folder} names the token {beyond[0]} and the model's ids end at"
            f" {vocab_size - 1}; correct eos_token_id and suppress_tokens"
        )


def pick_device(name: str | None) -> torch.device:
    """The device of that name; the GPU where there is one, else the CPU, for None.  Raises BadOption."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BadOption(
            f"device {name!r} cannot be used here ({reason}); this machine has: {_devices()}"
        ) from error
    return device


def _devices() -> str:
    return ", ".join(["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))])


def pick_dtype(name: str | None, config: ModelConfig) -> torch.dtype:
    """The dtype of that name, or the checkpoint's own.  Raises BadOption."""
    known = {
        "bfloat16": torch.bfloat16,
        "float16": torch.float16,
        "float32": torch.float32,
        "float64": torch.float64,
    }
    if name is not None and name not in known:
        raise BadOption(f"dtype {name!r} is not one of {', '.join(known)}")
    return known[config.dtype if name is None else name]


def load_model(opened: Opened, config: ModelConfig, device: torch.device, dtype: torch.dtype) -> Gemma4:
    """The model with its weights, built on the meta device and filled tensor by tensor.

    On a CPU, weights that lie on disk in this dtype or in blocks stay memory-mapped: they are read when they
    are first used, and processes share them.  So does the per-layer table in any dtype: of it, only a row for
    each token is ever read.
    Raises BadConfig for numbers that no machine can count with, WeightMismatch, BadWeightFile,
    CheckpointNotFound.
    """
    try:
        with torch.device("meta"):
            model = Gemma4(config).to(dtype)
    except RuntimeError as problem:  # a tensor of more than 2^63 bytes
        reason = str(problem).splitlines()[0]
        raise BadConfig(
            f"{opened.place} describes a model that is too large ({reason}); take the original one"
        ) from problem
    unused = unused_tensors(config.text)
    plain = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    blocks = {name: form for name, form in opened.blocks.items() if name in plain}
    _check_blocks(opened, plain, blocks)
    use_blocks(model, blocks)
    if opened.table_kind is not None and PER_LAYER_TABLE in plain:
        _check_table(opened, plain[PER_LAYER_TABLE])
        use_gguf_table(model, PER_LAYER_TABLE, opened.table_kind)
    made = {name: form for name, form in blocks.items() if opened.weights.tensors[name].dtype != torch.uint8}
    _fill(model, opened.weights, device, unused, made)
    return model.eval().requires_grad_(False)


def _check_blocks(
    opened: Opened, plain: Mapping[str, tuple[int, ...]], blocks: Mapping[str, BlockForm]
) -> None:
    """Raises WeightMismatch where what is in blocks, or is to be, cannot be the model's."""
    for name in blocks:
        info, shape = opened.weights.tensors[name], plain[name]
        made = info.dtype != torch.uint8
        if len(shape) < 2 or shape[-1] % VALUES or (made and info.shape != shape):
            raise WeightMismatch(
                f"{opened.place} has {name} {list(info.shape)} in blocks of {VALUES}, and the model's is"
                f" {list(shape)}; make the file again"
            )


def _check_table(opened: Opened, shape: tuple[int, ...]) -> None:
    """Raises WeightMismatch where a table whose rows are bytes has others than the model's."""
    if opened.num_values(PER_LAYER_TABLE) != prod(shape):
        raise WeightMismatch(
            f"{opened.place} has {opened.num_values(PER_LAYER_TABLE)} values in {PER_LAYER_TABLE}, and the"
            f" model's is {list(shape)}; make the file again"
        )


def load_drafter(folder: Path, target: TextConfig, device: torch.device, dtype: torch.dtype) -> Drafter:
    """The drafter in a folder, ready to draft for that target.

    Raises BadConfig where it was made for another target, WeightMismatch, BadWeightFile, CheckpointNotFound.
    """
    config = read_drafter_config(folder)
    _check_target(folder, config, target)
    with torch.device("meta"):
        drafter = Drafter(config).to(dtype)
    _fill(drafter, WeightFiles.open(folder), device, frozenset(), {})
    if config.clusters is not None:
        ordering = drafter.masked_embedding.token_ordering
        if not ordering.sort().values.equal(torch.arange(len(ordering), device=device)):
            raise BadWeightFile(
                f"masked_embedding.token_ordering in {folder} does not name each of the {len(ordering)}"
                " tokens once; download it again"
            )
    return drafter.eval().requires_grad_(False)


def _check_target(folder: Path, config: DrafterConfig, target: TextConfig) -> None:
    """Raises BadConfig unless the drafter takes the rows, keys and tokens of this target."""
    pairs: dict[str, tuple[object, object]] = {
        "backbone_hidden_size": (config.backbone_hidden_size, target.hidden_size)
    }
    pairs |= {name: (getattr(config.text, name), getattr(target, name)) for name in SHARED_NUMBERS}
    kinds = sorted(set(target.layer_types[: target.first_shared_layer]))
    pairs["kinds of layers"] = sorted({*config.text.layer_types, *kinds}), kinds
    said = [f"{name} is {own} and the target's {its}" for name, (own, its) in pairs.items() if own != its]
    if said:
        raise BadConfig(
            f"the drafter in {folder} was made for another model: {'; '.join(said)};"
            " name the assistant of this size"
        )


def _fill(
    model: nn.Module,
    files: WeightFiles | GgufWeights,
    device: torch.device,
    unused: frozenset[str],
    made: Mapping[str, BlockForm],
) -> None:
    """Give a model on the meta device its weights.

    unused: names that the files may hold beside them.  made: tensors that go into blocks on the way.
    """
    wanted = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    plain = {name: tensor for name, tensor in wanted.items() if name not in made}
    _check_tensors(files, plain, unused.union(made))
    mapped = {
        name
        for name, tensor in plain.items()
        if device.type == "cpu" and (name == PER_LAYER_TABLE or files.tensors[name].dtype == tensor.dtype)
    }
    for name in mapped:
        _place(model, name, files.mapped(name))
    for name, tensor in files.stream(plain.keys() - mapped):
        _place(model, name, torch.empty(tensor.shape, dtype=wanted[name].dtype, device=device).copy_(tensor))
    for name, form in made.items():
        assert isinstance(files, GgufWeights)
        _place(model, name, _in_blocks(files.pieces(name), wanted[name].shape, form).to(device))


def _in_blocks(pieces: Iterator[Tensor], shape: torch.Size, form: BlockForm) -> Tensor:
    """Rows that come piece by piece, as blocks of this shape."""
    blocks = torch.empty(shape, dtype=torch.uint8)
    rows, start = blocks.view(-1, shape[-1]), 0
    for piece in pieces:
        rows[start : start + len(piece)] = to_blocks(piece, form)
        start += len(piece)
    return blocks


def _place(model: nn.Module, name: str, tensor: Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    if tensor.is_floating_point():
        model.get_submodule(owner).register_parameter(leaf, nn.Parameter(tensor, requires_grad=False))
    else:
        model.get_submodule(owner).register_buffer(leaf, tensor)


def _check_tensors(
    files: WeightFiles | GgufWeights, wanted: Mapping[str, Tensor], unused: frozenset[str]
) -> None:
    """Raises WeightMismatch unless the files hold the model's tensors, in their shapes, and no others."""
    found, folder = files.tensors, files.folder
    both = [(name, tensor, found[name]) for name, tensor in wanted.items() if name in found]
    problems = {
        "lacks": [name for name in wanted if name not in found],
        "has, unknown to this model,": [name for name in found if name not in wanted and name not in unused],
        "has in another shape": [
            f"{name} {list(info.shape)} for {list(tensor.shape)}"
            for name, tensor, info in both
            if info.shape != tuple(tensor.shape)
        ],
        "has in a dtype that is no float": [
            f"{name} {info.dtype}"
            for name, tensor, info in both
            if tensor.is_floating_point() and info.dtype not in FLOATS
        ],
        "has in a dtype that is not int64": [
            f"{name} {info.dtype}"
            for name, tensor, info in both
            if tensor.dtype == torch.int64 and info.dtype != torch.int64
        ],
        "has in a dtype that is not uint8": [
            f"{name} {info.dtype}"
            for name, tensor, info in both
            if tensor.dtype == torch.uint8 and info.dtype != torch.uint8
        ],
    }
    said = [f"{what} {_few(names)}" for what, names in problems.items() if names]
    if said:
        raise WeightMismatch(
            f"the checkpoint in {folder} does not fit its config: it {'; it '.join(said)};"
            " download it again or correct config.json"
        )


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
