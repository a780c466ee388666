"""The weights of a GGUF file as a checkpoint's: by the hub's names, mapped where they lie.

F32, F16 and BF16 are tensors as they are; Q8_0 and Q4_0 are blocks, byte for byte (see `kernels.blocks`).
Any other type is made float32 by the gguf package, piece by piece; `blocks` says what becomes of it.  But a
per-layer table stays as it is, in any type: of it, only a row for each token is ever read.
"""

import math
import mmap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gemcut.checkpoint.block_names import DECODER, PER_LAYER_TABLE
from gemcut.checkpoint.gguf_header import GgufHeader, GgufTensor
from gemcut.checkpoint.gguf_names import FUSED, HEAD, ROPE_FACTORS, hub_name
from gemcut.checkpoint.safetensors_header import TensorInfo
from gemcut.checkpoint.weights import WeightFiles
from gemcut.config import BlockForm
from gemcut.errors import BadWeightFile, WeightMismatch

PLAIN = {0: torch.float32, 1: torch.float16, 30: torch.bfloat16}  # by the number of the type in GGUF
BLOCKS: dict[int, tuple[BlockForm, int]] = {2: ("int4", 18), 8: ("int8", 34)}  # Q4_0 and Q8_0, bytes of 32
BLOCK_VALUES = 32
# Others with their names, values and bytes of a block: to int4 what has up to 4.5 bits a value, else to int8.
OTHERS: dict[int, tuple[str, int, int]] = {
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    29: ("IQ1_M", 256, 56),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}
MOST_INT4_BITS = 4.5
LEAST_STOPPING = 1e29  # an angle that is divided by so much is none
MOST_COMPARED = 2**18  # values of a tensor
PIECE_VALUES = 2**22  # made float32 at a time: 16 MiB
AGAIN = "download it again"


@dataclass(frozen=True, kw_only=True)
class GgufWeights:
    """All tensors of a GGUF file with a gemma4 model, under the hub's names, in the order of the file.

    files: those that are used as they lie there.  made: those that the gguf package reads, with the dtype
    and shape that it gives.  blocks: the form of each tensor that is in blocks, or is to be.
    table_kind: the number of the per-layer table's type where it is none of these; its rows are bytes then.
    rotated: the share of a full-attention head that is rotated.
    """

    files: WeightFiles
    made: Mapping[str, tuple[TensorInfo, GgufTensor]]
    blocks: Mapping[str, BlockForm]
    table_kind: int | None
    rotated: float

    @property
    def folder(self) -> Path:
        """The file, by the name that `WeightFiles` has for its place."""
        return self.files.folder

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """What each tensor is, as `stream` or `pieces` gives it."""
        return {**self.files.tensors, **{name: info for name, (info, _) in self.made.items()}}

    @property
    def dtype(self) -> Literal["bfloat16", "float32"]:
        """The narrower one that holds every tensor which is not in blocks without loss.

        Most such files hold norms in F32 and matrices in F16 that were BF16 once, so the values decide; of
        a large tensor its first ones.  Never float16: such a file says how its weights are kept, not that
        activations stay below 65,504, and blocks have native code for the other two dtypes only.
        """
        return "bfloat16" if all(map(self._fits_bfloat16, self.files.tensors)) else "float32"

    def _fits_bfloat16(self, name: str) -> bool:
        dtype = self.files.tensors[name].dtype
        if dtype in (torch.bfloat16, torch.uint8):
            return True
        values = self.mapped(name).flatten()[:MOST_COMPARED]
        return values.bfloat16().to(dtype).equal(values)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know: which types were changed."""
        changed: dict[tuple[str, BlockForm], int] = {}
        for name, (_, tensor) in self.made.items():
            kind = OTHERS[tensor.kind][0], self.blocks[name]
            changed[kind] = changed.get(kind, 0) + 1
        if not changed:
            return ()
        listed = ", ".join(f"{count} of {kind} to {form}" for (kind, form), count in sorted(changed.items()))
        return (
            f"tensors requantised, not without loss: {listed}; files of Q4_0 and Q8_0 are used as they are",
        )

    def stream(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Each named tensor that is used as it lies there; see `WeightFiles.stream`."""
        return self.files.stream(names)

    def mapped(self, name: str) -> Tensor:
        """One tensor that is used as it lies there, as a view of the file."""
        return self.files.mapped(name)

    def pieces(self, name: str) -> Iterator[Tensor]:
        """A tensor of `made`, some rows at a time: (rows, width) in float32.

        31B's embedding alone has 5.6 GB in float32.
        """
        import gguf  # here: other files need none of it

        info, tensor = self.made[name]
        kind, count, width = (
            gguf.GGMLQuantizationType(tensor.kind),
            math.prod(info.shape[:-1]),
            info.shape[-1],
        )
        row = row_bytes(tensor.kind, width)
        step = max(1, PIECE_VALUES // width)
        with info.file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for start in range(0, count, step):
                rows = min(step, count - start)
                stored = np.frombuffer(data, np.uint8, rows * row, tensor.start + start * row)
                made = gguf.quants.dequantize(stored.reshape(rows, row), kind)
                del stored  # before the mapping closes
                yield torch.from_numpy(made)


def open_gguf_weights(header: GgufHeader) -> GgufWeights:
    """The weights that a header describes; none is read but the 1s and 1e30s that say what is rotated.

    Raises BadWeightFile for a file that has none, is too short for its tensors, or has a type that nobody
    reads, WeightMismatch for tensors that gemma4 does not have.
    """
    file, blocks = header.file, dict[str, BlockForm]()
    if not header.tensors:
        raise BadWeightFile(f"{file} has no weights, only what comes before them; give the file of a model")
    plain: dict[str, TensorInfo] = {}
    made: dict[str, tuple[TensorInfo, GgufTensor]] = {}
    table_kind = None
    for name, tensor in _hub_tensors(header).items():
        info, form = _describe(header, name, tensor)
        if name == PER_LAYER_TABLE and tensor.kind in OTHERS:
            table_kind, width = tensor.kind, row_bytes(tensor.kind, tensor.shape[-1])
            plain[name] = replace(info, shape=(*info.shape[:-1], width), dtype=torch.uint8)
            continue
        if form is not None:
            blocks[name] = form
        if tensor.kind in OTHERS:
            made[name] = info, tensor
        else:
            plain[name] = info
    return GgufWeights(
        files=WeightFiles(file, plain),
        made=made,
        blocks=blocks,
        table_kind=table_kind,
        rotated=_read_rotated(header),
    )


def row_bytes(kind: int, width: int) -> int:
    """Bytes of a row of that many values in one of the other types."""
    _, values, block = OTHERS[kind]
    return width // values * block


def _hub_tensors(header: GgufHeader) -> dict[str, GgufTensor]:
    """The file's tensors under the hub's names; fused q, k and v are cut into the rows of each."""
    found: dict[str, GgufTensor] = {}
    unknown = []
    for name, tensor in header.tensors.items():
        if name == ROPE_FACTORS:
            continue
        if name == HEAD:
            raise WeightMismatch(
                f"{header.file} has an output head of its own ({HEAD}), and Gemma 4's is its embedding;"
                " give a file without one"
            )
        fused, ours = FUSED.fullmatch(name), hub_name(name)
        parts = _cut(header, int(fused[1]), tensor) if fused is not None else {ours or "": tensor}
        if "" in parts or parts.keys() & found.keys():
            unknown.append(name)
        found |= parts
    if unknown:
        raise WeightMismatch(
            f"{header.file} has {len(unknown)} tensors that gemcut does not know, {unknown[0]} first;"
            " give a file of the text model alone, as llama.cpp's converter writes it for gemma4"
        )
    return found


def _cut(header: GgufHeader, layer: int, tensor: GgufTensor) -> dict[str, GgufTensor]:
    """Rows of q, k and v.  Their widths follow from the norms: one weight a head's width."""
    kv_heads = header.pairs.get("gemma4.attention.head_count_kv")
    if isinstance(kv_heads, tuple):
        kv_heads = kv_heads[layer] if layer < len(kv_heads) else None
    norm = header.tensors.get(f"blk.{layer}.attn_q_norm.weight")
    kv_rows = kv_heads * norm.shape[0] if isinstance(kv_heads, int) and norm is not None else 0
    q_rows = tensor.shape[0] - 2 * kv_rows
    if kv_rows < 1 or q_rows < 1 or len(tensor.shape) != 2:
        raise BadWeightFile(
            f"{header.file} has q, k and v of layer {layer} in one tensor of shape {list(tensor.shape)}, and"
            f" does not say which rows are whose; {AGAIN}"
        )
    rows = {}
    start, row = tensor.start, _num_bytes(header, tensor) // tensor.shape[0]
    for part, count in (("q_proj", q_rows), ("k_proj", kv_rows), ("v_proj", kv_rows)):
        name = f"{DECODER}layers.{layer}.self_attn.{part}.weight"
        rows[name] = replace(tensor, shape=(count, tensor.shape[1]), start=start)
        start += count * row
    return rows


def _describe(header: GgufHeader, name: str, tensor: GgufTensor) -> tuple[TensorInfo, BlockForm | None]:
    """What the tensor is as it is used, and the form of its blocks."""
    num_bytes = _num_bytes(header, tensor)
    if tensor.start + num_bytes > header.size:
        raise BadWeightFile(
            f"{header.file} is truncated: it has {header.size} bytes, and {name} ends at"
            f" {tensor.start + num_bytes}; {AGAIN}"
        )
    shape, dtype, form = tensor.shape, torch.float32, None
    if tensor.kind in PLAIN:
        dtype = PLAIN[tensor.kind]
    elif tensor.kind in BLOCKS:
        form, block = BLOCKS[tensor.kind]
        shape, dtype = (*shape[:-1], shape[-1] // BLOCK_VALUES * block), torch.uint8
    else:
        _, values, block = OTHERS[tensor.kind]
        form = "int4" if 8 * block / values <= MOST_INT4_BITS else "int8"
    if name.endswith("layer_scalar"):
        shape = (math.prod(shape),)
    return TensorInfo(shape=shape, dtype=dtype, file=header.file, start=tensor.start), form


def _num_bytes(header: GgufHeader, tensor: GgufTensor) -> int:
    if tensor.kind in PLAIN:
        return math.prod(tensor.shape) * PLAIN[tensor.kind].itemsize
    known = {kind: (BLOCK_VALUES, block) for kind, (_, block) in BLOCKS.items()}
    known |= {kind: (values, block) for kind, (_, values, block) in OTHERS.items()}
    if tensor.kind not in known:
        raise BadWeightFile(
            f"{header.file} has a tensor of type {tensor.kind}, which gemcut does not read; give a file of"
            f" F32, F16, BF16, Q8_0, Q4_0 or {', '.join(name for name, _, _ in OTHERS.values())}"
        )
    values, block = known[tensor.kind]
    if not tensor.shape or tensor.shape[-1] % values:
        raise BadWeightFile(
            f"{header.file} has rows of {tensor.shape[-1:]} values in blocks of {values}; {AGAIN}"
        )
    return math.prod(tensor.shape) // values * block


def _read_rotated(header: GgufHeader) -> float:
    """Of the pairs of a full-attention head, the share whose factor is 1; the others come last."""
    tensor, width = header.tensors.get(ROPE_FACTORS), header.pairs.get("gemma4.attention.key_length")
    shape = () if tensor is None else tensor.shape
    if tensor is None or tensor.kind not in PLAIN or len(shape) != 1 or 2 * shape[0] != width:
        raise BadWeightFile(
            f"{header.file} has no {ROPE_FACTORS} with a number for each pair of a full-attention head, which"
            " says what is rotated; give a file as llama.cpp's converter writes it"
        )
    info, _ = _describe(header, ROPE_FACTORS, tensor)
    factors = WeightFiles(header.file, {ROPE_FACTORS: info}).mapped(ROPE_FACTORS).float()
    count = int((factors == 1).sum())
    if count == 0 or not (factors[:count] == 1).all() or not (factors[count:] >= LEAST_STOPPING).all():
        raise BadWeightFile(
            f"{header.file} has factors in {ROPE_FACTORS} other than 1 and then 1e30, which is not Gemma 4's"
            " rotation; give another file"
        )
    return count / len(factors)
