"""The header of a safetensors file: which tensor lies where.

    8 bytes   length n of the header, little-endian
    n bytes   JSON {name: {"dtype": "BF16", "shape": […], "data_offsets": [begin, end]}, "__metadata__": {…}}
    the rest  the tensors' bytes without gaps; the offsets count from here

We read it ourselves because weights are mapped tensor by tensor and given back to the system one by one; the
safetensors package does not offer that.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gemcut.checkpoint.index import AGAIN
from gemcut.checkpoint.section import parse_object
from gemcut.errors import BadWeightFile

DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "U16": torch.uint16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "F32": torch.float32,
    "I64": torch.int64,
    "U64": torch.uint64,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
MOST_HEADER_BYTES = 100_000_000  # the format's own limit


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """What a tensor is and where it lies; `start` counts bytes from the file's beginning."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    file: Path
    start: int

    @property
    def num_bytes(self) -> int:
        """Bytes of its values."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(file: Path) -> dict[str, TensorInfo]:
    """Every tensor of one safetensors file, in the order of their bytes.

    Raises BadWeightFile where the header is damaged, or the file is shorter or longer than its header says.
    """

    def complain(what: str) -> BadWeightFile:
        return BadWeightFile(f"{file} {what}; {AGAIN}")

    try:
        with file.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            length = int.from_bytes(opened.read(8), "little")
            text = opened.read(min(length, MOST_HEADER_BYTES))
    except OSError as error:
        raise complain(f"cannot be read ({error.strerror})") from error
    if size < 8 or len(text) < length:
        raise complain(f"has {size} bytes, too few for its header" + (f" of {length}" if size >= 8 else ""))
    entries = parse_object(text, lambda what: complain(f"has a header that {what}"))
    entries.pop("__metadata__", None)
    begin = 8 + length
    placed = []
    for name, entry in entries.items():
        problem = _problem_of(entry)
        if problem is not None:
            raise complain(f"describes the tensor {name} wrongly: {problem}")
        first, last = entry["data_offsets"]
        info = TensorInfo(
            shape=tuple(entry["shape"]), dtype=DTYPES[entry["dtype"]], file=file, start=begin + first
        )
        if last - first != info.num_bytes:
            raise complain(
                f"gives {name} {last - first} bytes, and {info.num_bytes} are what shape {entry['shape']} "
                f"and dtype {entry['dtype']} take"
            )
        placed.append((first, last, name, info))
    placed.sort(key=lambda place: place[:2])
    expected = 0
    for first, last, name, _ in placed:
        if first != expected:
            raise complain(f"has {name} at byte {first} of its data, where {expected} was expected")
        expected = last
    if begin + expected != size:
        what = "truncated" if size < begin + expected else "too long"
        raise complain(f"is {what}: it has {size} bytes and its header describes {begin + expected}")
    return {name: info for _, _, name, info in placed}


def _problem_of(entry: Any) -> str | None:
    """What is wrong with one tensor's description, or None."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        return f"{entry!r} and not dtype, shape and data_offsets"
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in DTYPES:
        return f"dtype {entry['dtype']!r} is none of {', '.join(DTYPES)}"
    for key in ("shape", "data_offsets"):
        numbers = entry[key]
        if not isinstance(numbers, list) or any(type(number) is not int or number < 0 for number in numbers):
            return f"{key} {numbers!r} is no list of whole numbers"
    offsets = entry["data_offsets"]
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        return f"data_offsets {offsets!r} are no beginning and end"
    return None
