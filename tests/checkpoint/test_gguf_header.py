"""Headers that no honest program wrote: an error, and soon."""

import struct
from pathlib import Path

import pytest

from gemcut.checkpoint import gguf_header
from gemcut.checkpoint.gguf_header import read_gguf_header
from gemcut.errors import BadWeightFile

UINT8, UINT32, STRING, ARRAY = 0, 4, 8, 9


def text(words: str) -> bytes:
    return struct.pack("<Q", len(words)) + words.encode()


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: str, *shape: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, 0)


def write(folder: Path, pairs: tuple[bytes, ...] = (), tensors: tuple[bytes, ...] = ()) -> Path:
    file = folder / "x.gguf"
    begin = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    file.write_bytes(begin + b"".join(pairs + tensors) + bytes(64))
    return file


def test_what_is_in_order_is_read(tmp_path: Path) -> None:
    numbers = pair("a", ARRAY, struct.pack("<IQ2I", UINT32, 2, 7, 8))
    header = read_gguf_header(write(tmp_path, (numbers, pair("b", STRING, text("c"))), (tensor("w", 3, 2),)))
    assert header.pairs == {"a": (7, 8), "b": "c"}
    assert header.tensors["w"].shape == (2, 3)
    assert header.size == (tmp_path / "x.gguf").stat().st_size


@pytest.mark.parametrize(
    ("pairs", "tensors", "message"),
    [
        ((pair("a", ARRAY, struct.pack("<IQ", UINT8, 2**40)),), (), "1099511627776 items at byte"),
        ((pair("a", ARRAY, struct.pack("<IQ", STRING, 2**60)),), (), "1152921504606846976 items at byte"),
        ((pair("a", ARRAY, struct.pack("<IQ", ARRAY, 1)),), (), "an array of type 9"),
        ((pair("a", STRING, struct.pack("<Q", 2**63)),), (), "a string of 9223372036854775808 bytes"),
        ((pair("a", 13, b""),), (), "a value of type 13"),
        ((pair("a", UINT32, bytes(4)),) * 2, (), "the key a twice"),
        ((pair("general.alignment", UINT32, bytes(4)),), (tensor("w", 1),), "an alignment of 0"),
        ((), (tensor("w", 1),) * 2, "the tensor w with 1 dimensions"),
        ((), (tensor("w"),), "the tensor w with 0 dimensions"),
        ((), (tensor("w", 1, 1, 1, 1, 1),), "the tensor w with 5 dimensions"),
        ((), (tensor("w", 4, 0),), r"the tensor w of shape \[0, 4\]"),
    ],
)
def test_what_cannot_be_is_an_error(
    pairs: tuple[bytes, ...], tensors: tuple[bytes, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadWeightFile, match=rf"x.gguf is truncated or damaged \({message}"):
        read_gguf_header(write(tmp_path, pairs, tensors))


def test_only_so_much_of_a_file_is_taken_for_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers take many times as much memory as in the file: 14 GB of them would fill any machine."""
    file = write(tmp_path, (pair("a", ARRAY, struct.pack("<IQ", UINT8, 4000) + bytes(4000)),))
    assert len(read_gguf_header(file).pairs["a"]) == 4000
    monkeypatch.setattr(gguf_header, "MOST_HEADER_BYTES", 2000)
    with pytest.raises(BadWeightFile, match="4000 items at byte .* of 2000"):
        read_gguf_header(file)
