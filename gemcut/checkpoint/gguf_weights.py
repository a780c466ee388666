"""The weights of a GGUF file as a checkpoint's: by the hub's names, mapped where they lie.

F32, F16 and BF16 are tensors as they are; Q8_0 and Q4_0 are blocks, byte for byte (see `kernels.blocks`).
Any other type is made float32 by the gguf package when its tensor is read; `blocks` says what it becomes.
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
MOST_COMPARED = 2**24  # values of a tensor
AGAIN = "download it again"


@dataclass(frozen=True, kw_only=True)
class GgufWeights:
    """All tensors of a GGUF file with a gemma4 model, under the hub's names, in the order of the file.

    files: those that lie there as they are used.  made: those that the gguf package reads, with the
    dtype and shape that it gives.  blocks: the form of each tensor that is in blocks, or is to be.
    rotated: the share of a full-attention head that is rotated.
    """

    files: WeightFiles
    made: Mapping[str, tuple[TensorInfo, GgufTensor]]
    blocks: Mapping[str, BlockForm]
    rotated: float

    @property
    def folder(self) -> Path:
        """The file, by the name that `WeightFiles` has for its place."""
        return self.files.folder

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """What each tensor is, as `stream` gives it."""
        return {**self.files.tensors, **{name: info for name, (info, _) in self.made.items()}}

    @property
    def dtype(self) -> Literal["bfloat16", "float16", "float32"]:
        """The narrowest dtype that holds every tensor which is not in blocks without loss.

        Most such files hold norms in F32 that were BF16 once, so the values decide; only of large tensors the
        dtype does, because they would have to be read.
        """
        if self._fits(torch.bfloat16):
            return "bfloat16"
        return "float16" if self._fits(torch.float16) else "float32"

    def _fits(self, dtype: torch.dtype) -> bool:
        for name, info in self.files.tensors.items():
            if info.dtype in (dtype, torch.uint8):
                continue
            if math.prod(info.shape) > MOST_COMPARED:
                return False
            values = self.mapped(name)
            if not values.to(dtype).to(info.dtype).equal(values):
                return False
        return True

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
        """Each named tensor, on the CPU and not to be written into; see `WeightFiles.stream`."""
        asked = set(names)
        yield from self.files.stream(asked - self.made.keys())
        for name in sorted(asked & self.made.keys(), key=lambda name: self.made[name][1].start):
            yield name, self._make(name)

    def mapped(self, name: str) -> Tensor:
        """One tensor as a view of the file; not for those of `made`."""
        return self.files.mapped(name)

    def _make(self, name: str) -> Tensor:
        """A tensor of another type, in float32."""
        import gguf  # here: other files need none of it

        info, tensor = self.made[name]
        kind = gguf.GGMLQuantizationType(tensor.kind)
        row = info.shape[-1] // OTHERS[tensor.kind][1] * OTHERS[tensor.kind][2]
        with info.file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            stored = np.frombuffer(data, np.uint8, math.prod(info.shape[:-1]) * row, tensor.start)
            values = gguf.quants.dequantize(stored.reshape(*info.shape[:-1], row), kind)
            del stored  # before the mapping closes
        return torch.from_numpy(values)


def open_gguf_weights(header: GgufHeader) -> GgufWeights:
    """The weights that a header describes; none is read but the 1s and 1e30s that say what is rotated.

    Raises BadWeightFile for a file that is too short for its tensors or a type that nobody reads,
    WeightMismatch for tensors that gemma4 does not have.
    """
    file, blocks = header.file, dict[str, BlockForm]()
    plain: dict[str, TensorInfo] = {}
    made: dict[str, tuple[TensorInfo, GgufTensor]] = {}
    for name, tensor in _hub_tensors(header).items():
        info, form = _describe(header, name, tensor)
        if form is not None:
            blocks[name] = form
        if tensor.kind in OTHERS:
            made[name] = info, tensor
        else:
            plain[name] = info
    return GgufWeights(
        files=WeightFiles(file, plain), made=made, blocks=blocks, rotated=_read_rotated(header)
    )


def _hub_tensors(header: GgufHeader) -> dict[str, GgufTensor]:
    """The file's tensors under the hub's names; fused q, k and v are cut into the rows of each."""
    found: dict[str, GgufTensor] = {}
    unknown = []
    for name, tensor in header.tensors.items():
        fused = FUSED.fullmatch(name)
        if name == ROPE_FACTORS:
            continue
        if name == HEAD:
            raise WeightMismatch(
                f"{header.file} has an output head of its own ({HEAD}), and Gemma 4's is its embedding;"
                " give a file without one"
            )
        if fused is not None:
            found |= _cut(header, int(fused[1]), tensor)
        elif (ours := hub_name(name)) is not None:
            found[ours] = tensor
        else:
            unknown.append(name)
    if unknown:
        raise WeightMismatch(
            f"{header.file} has {len(unknown)} tensors that gemma4 does not have, {unknown[0]} first;"
            " give a file with a text model of llama.cpp's architecture gemma4"
        )
    return found


def _cut(header: GgufHeader, layer: int, tensor: GgufTensor) -> dict[str, GgufTensor]:
    """Rows of q, k and v.  Their widths follow from the norms: one weight a head's width."""
    rows = {}
    key = "gemma4.attention.head_count_kv"
    kv_heads = header.pairs.get(key)
    kv_heads = kv_heads[layer] if isinstance(kv_heads, tuple) else kv_heads
    norm = header.tensors.get(f"blk.{layer}.attn_q_norm.weight")
    if norm is None or not isinstance(kv_heads, int):
        raise BadWeightFile(f"{header.file} does not say how wide the heads of layer {layer} are; {AGAIN}")
    kv_rows = kv_heads * norm.shape[0]
    parts = {"q_proj": tensor.shape[0] - 2 * kv_rows, "k_proj": kv_rows, "v_proj": kv_rows}
    start, row = tensor.start, _num_bytes(header, tensor) // max(1, tensor.shape[0])
    for part, count in parts.items():
        name = f"model.language_model.layers.{layer}.self_attn.{part}.weight"
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
    tensor = header.tensors.get(ROPE_FACTORS)
    if tensor is None:
        return 1.0
    info, _ = _describe(header, ROPE_FACTORS, tensor)
    factors = WeightFiles(header.file, {ROPE_FACTORS: info}).mapped(ROPE_FACTORS).float()
    count = int((factors == 1).sum())
    ordered = bool((factors[:count] == 1).all() and (factors[count:] >= LEAST_STOPPING).all())
    if factors.ndim != 1 or count == 0 or not ordered:
        raise BadWeightFile(
            f"{header.file} has factors in {ROPE_FACTORS} other than 1 and then 1e30, which is not Gemma 4's"
            " rotation; give another file"
        )
    return count / len(factors)
