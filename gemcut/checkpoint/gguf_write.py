"""Writing a GGUF file of version 3, piece by piece; `gguf_header` says how it lies."""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import torch
from torch import Tensor

from gemcut.checkpoint.gguf_header import ARRAY, STRING, USUAL_ALIGNMENT
from gemcut.errors import BadOption

GgufKind = Literal["F32", "F16", "BF16", "Q4_0", "Q8_0"]
KINDS: dict[GgufKind, int] = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 8, "BF16": 30}
UINT32, INT32, FLOAT32, BOOL = 4, 5, 6, 7
FORMATS = {UINT32: "I", INT32: "i", FLOAT32: "f", BOOL: "?"}
VERSION = 3


@dataclass(frozen=True, kw_only=True)
class GgufEntry:
    """A tensor that is to be written.  shape: of its values, outermost first.  num_bytes: of its bytes."""

    name: str
    kind: GgufKind
    shape: tuple[int, ...]
    num_bytes: int


def kind_of_name(name: str) -> GgufKind:
    """The type that people write as "q4_0"."""
    return next(kind for kind in KINDS if kind.lower() == name)


def write_gguf(
    out: Path, pairs: Mapping[str, Any], entries: Sequence[GgufEntry], pieces: Iterable[Tensor]
) -> None:
    """Write a file with these metadata and tensors.

    pairs: numbers without a fraction become uint32 (np.int32 stays), those with one float32; sequences are of
    text, flags, float32 or int32.  pieces: the bytes of the entries in their order, one or several of each.
    It is written beside its place and moved there when it is whole.
    Raises BadOption where it cannot be written.
    """
    beside = out.with_name(f".writing-{out.name}")
    try:
        with beside.open("wb") as file:
            file.write(b"GGUF" + struct.pack("<IQQ", VERSION, len(entries), len(pairs)))
            for key, value in pairs.items():
                file.write(_string(key) + _value(value))
            offset = 0
            for entry in entries:
                file.write(_string(entry.name) + struct.pack("<I", len(entry.shape)))
                file.write(struct.pack(f"<{len(entry.shape)}Q", *reversed(entry.shape)))
                file.write(struct.pack("<IQ", KINDS[entry.kind], offset))
                offset += entry.num_bytes + -entry.num_bytes % USUAL_ALIGNMENT
            given = iter(pieces)
            for entry in entries:
                _pad(file)
                _write_tensor(file, entry, given)
            _pad(file)
            assert next(given, None) is None, "more pieces than the entries have"
        beside.replace(out)
    except OSError as problem:  # no such folder, no right to write there, a full disk
        raise BadOption(f"{out} cannot be written ({problem.strerror}); name another place") from problem
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _write_tensor(file: BinaryIO, entry: GgufEntry, given: Iterator[Tensor]) -> None:
    left = entry.num_bytes
    while left > 0:
        piece = next(given, None)
        assert piece is not None, f"too few pieces of {entry}"
        file.write(piece.contiguous().flatten().view(torch.uint8).numpy().data)
        left -= piece.nbytes
    assert left == 0, f"{-left} bytes too many for {entry}"


def _pad(file: BinaryIO) -> None:
    file.write(bytes(-file.tell() % USUAL_ALIGNMENT))


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Any) -> bytes:
    """The type's number and the value."""
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _string(value)
    if isinstance(value, list | tuple):
        return struct.pack("<I", ARRAY) + _array(value)
    kind = _kind(value, UINT32)
    return struct.pack(f"<I{FORMATS[kind]}", kind, value)


def _array(items: Sequence[Any]) -> bytes:
    if isinstance(items[0], str):
        return struct.pack("<IQ", STRING, len(items)) + b"".join(map(_string, items))
    kind = _kind(items[0], INT32)
    return struct.pack(f"<IQ{len(items)}{FORMATS[kind]}", kind, len(items), *items)


def _kind(value: Any, whole: int) -> int:
    """The type's number.  whole: that of a number without a fraction."""
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, float):
        return FLOAT32
    return INT32 if isinstance(value, np.int32) else whole
