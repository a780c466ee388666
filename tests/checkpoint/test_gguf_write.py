"""GGUF files that we write, as the gguf package reads them, and as we do."""

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from torch import Tensor

from gemcut.checkpoint.gguf_header import read_gguf_header
from gemcut.checkpoint.gguf_write import GgufEntry, kind_of_name, write_gguf
from gemcut.errors import BadOption

PAIRS = {
    "general.architecture": "gemma4",
    "whole": 7,
    "signed": np.int32(64),
    "fraction": 0.25,
    "flag": True,
    "words": ("a", "", "höher"),
    "flags": [True, False, True],
    "numbers": (3, -1),
    "fractions": [0.5, -1000.0],
}
TENSORS = {
    "f32": torch.arange(3.0),
    "f16": torch.arange(10.0).view(2, 5).half(),
    "bf16": torch.arange(12.0).view(2, 3, 2).bfloat16(),
    "q8": torch.arange(68, dtype=torch.uint8).view(2, 34),
}
ENTRIES = [
    GgufEntry(name="f32", kind="F32", shape=(3,), num_bytes=12),
    GgufEntry(name="f16", kind="F16", shape=(2, 5), num_bytes=20),
    GgufEntry(name="bf16", kind="BF16", shape=(2, 3, 2), num_bytes=24),
    GgufEntry(name="q8", kind="Q8_0", shape=(2, 32), num_bytes=68),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_gguf(tmp_path / "x.gguf", PAIRS, ENTRIES, TENSORS.values())
    return tmp_path / "x.gguf"


def test_the_gguf_package_reads_what_was_written(file: Path) -> None:
    reader = gguf.GGUFReader(file)
    found = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    assert found == {
        name: list(value) if isinstance(value, tuple) else value for name, value in PAIRS.items()
    }
    kinds = gguf.GGUFValueType
    assert reader.fields["whole"].types == [kinds.UINT32]
    assert reader.fields["signed"].types == [kinds.INT32]
    assert reader.fields["fraction"].types == [kinds.FLOAT32]
    assert reader.fields["flags"].types == [kinds.ARRAY, kinds.BOOL]
    assert reader.fields["numbers"].types == [kinds.ARRAY, kinds.INT32]
    assert [tensor.name for tensor in reader.tensors] == list(TENSORS)
    for tensor, entry in zip(reader.tensors, ENTRIES, strict=True):
        assert tuple(reversed(tensor.shape.tolist())) == entry.shape
        assert tensor.tensor_type.name == entry.kind
        stored = TENSORS[tensor.name].contiguous().view(torch.uint8).numpy()
        np.testing.assert_array_equal(tensor.data.view(np.uint8).ravel(), stored.ravel())


def test_we_read_what_was_written(file: Path) -> None:
    header = read_gguf_header(file)
    assert header.pairs == {
        name: tuple(value) if isinstance(value, list) else value for name, value in PAIRS.items()
    }
    assert [(name, tensor.shape) for name, tensor in header.tensors.items()] == [
        (entry.name, entry.shape) for entry in ENTRIES
    ]
    contents = file.read_bytes()
    for entry in ENTRIES:
        start = header.tensors[entry.name].start
        stored = TENSORS[entry.name].contiguous().view(torch.uint8).numpy().tobytes()
        assert contents[start : start + entry.num_bytes] == stored
        assert start % 32 == 0


def test_every_tensor_s_place_is_what_the_gguf_package_says(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "theirs.gguf", "gemma4")
    writer.add_custom_alignment(64)
    writer.add_tensor("one", np.arange(5, dtype=np.float32))
    writer.add_tensor("two", np.arange(6, dtype=np.float16).reshape(2, 3))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = read_gguf_header(tmp_path / "theirs.gguf")
    theirs = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "theirs.gguf").tensors}
    assert {name: tensor.start for name, tensor in header.tensors.items()} == {
        name: tensor.data_offset for name, tensor in theirs.items()
    }
    assert header.tensors["two"].shape == (2, 3)


def test_what_fails_half_way_leaves_no_file(tmp_path: Path) -> None:
    def broken() -> Iterator[Tensor]:
        yield TENSORS["f32"]
        raise RuntimeError("the power went out")

    with pytest.raises(RuntimeError, match="power"):
        write_gguf(tmp_path / "x.gguf", PAIRS, ENTRIES, broken())
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match=r"absent/x.gguf cannot be written \(No such file or directory\)"):
        write_gguf(tmp_path / "absent" / "x.gguf", PAIRS, ENTRIES, TENSORS.values())


def test_types_go_by_the_names_that_people_write() -> None:
    assert [kind_of_name(name) for name in ("f32", "f16", "bf16", "q4_0", "q8_0")] == [
        "F32", "F16", "BF16", "Q4_0", "Q8_0",
    ]  # fmt: skip


def test_a_truncated_or_damaged_header_is_an_error_and_nothing_else(file: Path, tmp_path: Path) -> None:
    from gemcut.errors import BadWeightFile

    contents = file.read_bytes()
    begin = min(tensor.start for tensor in read_gguf_header(file).tensors.values())
    other = tmp_path / "y.gguf"
    for length in range(24, begin - 32, 7):
        other.write_bytes(contents[:length])
        with pytest.raises(BadWeightFile, match="is truncated or damaged"):
            read_gguf_header(other)
    for place in range(24, begin):
        other.write_bytes(contents[:place] + b"\xff" + contents[place + 1 :])
        try:
            read_gguf_header(other)
        except BadWeightFile:
            continue
