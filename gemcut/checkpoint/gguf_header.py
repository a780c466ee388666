"""The header of a GGUF file: its metadata, and which tensor lies where.

We read it ourselves: the gguf package takes half a minute for Gemma 4's 262,144 tokens and 514,906 merges,
because it wraps every string in arrays; this takes about a second.
Source: the GGUF specification, versions 2 and 3.

    "GGUF"  u32 version  u64 tensors  u64 pairs
    pairs    string key, u32 type, value
    tensors  string name, u32 dimensions, u64 each (innermost first), u32 type, u64 offset
    the rest from the next multiple of general.alignment (32): the tensors' bytes; offsets count from here
    string   u64 length, bytes                     array  u32 type of its items, u64 length, items
"""

import math
import mmap
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemcut.errors import BadWeightFile, CheckpointNotFound

# struct's letter for each type of number
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
HEAD_BYTES = 24
USUAL_ALIGNMENT = 32
MOST_DIMENSIONS = 4
# Gemma 4's has 16 MB.  In memory its values may take twenty times as much: no file is to fill a machine.
MOST_HEADER_BYTES = 2**26


@dataclass(frozen=True, kw_only=True)
class GgufTensor:
    """One tensor.  shape: outermost first, as torch has it.  kind: the number of its type in GGUF.

    start: counts bytes from the file's beginning.
    """

    shape: tuple[int, ...]
    kind: int
    start: int


@dataclass(frozen=True, kw_only=True)
class GgufHeader:
    """What a GGUF file says before its weights; tensors in the order of the file."""

    file: Path
    size: int
    pairs: Mapping[str, Any]
    tensors: Mapping[str, GgufTensor]


def read_gguf_header(file: Path) -> GgufHeader:
    """Everything before the weights.

    Raises CheckpointNotFound without the file, BadWeightFile where it is no whole GGUF header.
    """
    try:
        with file.open("rb") as opened:
            head = opened.read(HEAD_BYTES)
            if head[:4] != b"GGUF" or len(head) < HEAD_BYTES:
                raise BadWeightFile(f"{file} is no GGUF file: it begins with {head[:4]!r}; give another file")
            version, num_tensors, num_pairs = struct.unpack("<IQQ", head[4:])
            if version not in (2, 3):
                raise BadWeightFile(
                    f"{file} is GGUF of version {version}; gemcut reads 2 and 3, little-endian"
                )
            size = os.fstat(opened.fileno()).st_size
            with mmap.mmap(opened.fileno(), min(size, MOST_HEADER_BYTES), access=mmap.ACCESS_READ) as data:
                reader = _Reader(data)
                pairs = reader.pairs(num_pairs)
                tensors = reader.tensors(num_tensors, pairs.get("general.alignment", USUAL_ALIGNMENT))
                return GgufHeader(file=file, size=size, pairs=pairs, tensors=tensors)
    except (FileNotFoundError, IsADirectoryError) as problem:
        raise CheckpointNotFound(f"{file} is no file; give the path of a GGUF file") from problem
    except OSError as problem:
        raise BadWeightFile(f"{file} cannot be read ({problem.strerror}); make it readable") from problem
    except (struct.error, UnicodeDecodeError, _Damaged) as problem:
        raise BadWeightFile(f"{file} is truncated or damaged ({problem}); download it again") from problem


class _Damaged(Exception):
    """The bytes cannot be a GGUF header."""


class _Reader:
    """Reads one value after another."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.at = HEAD_BYTES

    def pairs(self, count: int) -> Mapping[str, Any]:
        found = {}
        for _ in range(count):
            key = self.string()
            if key in found:
                raise _Damaged(f"the key {key} twice")
            found[key] = self.value(self.number("I"))
        return found

    def tensors(self, count: int, alignment: Any) -> Mapping[str, GgufTensor]:
        if not isinstance(alignment, int) or alignment < 1:
            raise _Damaged(f"an alignment of {alignment!r}")
        entries = {}
        for _ in range(count):
            name, num_dimensions = self.string(), self.number("I")
            if not 1 <= num_dimensions <= MOST_DIMENSIONS or name in entries:
                raise _Damaged(f"the tensor {name} with {num_dimensions} dimensions at byte {self.at}")
            shape = tuple(self.number("Q") for _ in range(num_dimensions))[::-1]
            if 0 in shape:
                raise _Damaged(f"the tensor {name} of shape {list(shape)}")
            entries[name] = shape, self.number("I"), self.number("Q")
        begin = math.ceil(self.at / alignment) * alignment
        return {
            name: GgufTensor(shape=shape, kind=kind, start=begin + offset)
            for name, (shape, kind, offset) in entries.items()
        }

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            return self.array(self.number("I"), self.number("Q"))
        if kind not in NUMBERS:
            raise _Damaged(f"a value of type {kind} at byte {self.at}")
        return self.number(NUMBERS[kind])

    def number(self, form: str) -> Any:
        (value,) = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return value

    def string(self) -> str:
        (text,) = self.array(STRING, 1)
        assert isinstance(text, str)
        return text

    def array(self, kind: int, count: int) -> tuple[Any, ...]:
        size = 8 if kind == STRING else struct.calcsize(f"<{NUMBERS[kind]}") if kind in NUMBERS else 0
        if size == 0:
            raise _Damaged(f"an array of type {kind} at byte {self.at}")
        if count * size > len(self.data) - self.at:
            raise _Damaged(f"{count} items at byte {self.at} of {len(self.data)}")
        if kind != STRING:
            values = struct.unpack_from(f"<{count}{NUMBERS[kind]}", self.data, self.at)
            self.at += count * size
            return values
        strings = []
        data, at, unpack = self.data, self.at, struct.Struct("<Q").unpack_from
        for _ in range(count):  # a million times: keep it tight
            (length,) = unpack(data, at)
            end = at + 8 + length
            text = data[at + 8 : end]
            if len(text) < length:
                raise _Damaged(f"a string of {length} bytes at byte {at} of {len(data)}")
            strings.append(text.decode())
            at = end
        self.at = at
        return tuple(strings)
