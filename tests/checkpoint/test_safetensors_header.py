"""The header of a safetensors file, whole and damaged."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from gemcut.checkpoint.safetensors_header import DTYPES, TensorInfo, read_header
from gemcut.errors import BadWeightFile

GOOD = {
    "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
    "b": {"dtype": "BF16", "shape": [], "data_offsets": [8, 10]},
}


def write(folder: Path, header: Any, num_bytes: int) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file = folder / "model.safetensors"
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(num_bytes))
    return file


def test_tensors_are_listed_with_shape_dtype_and_place(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD | {"__metadata__": {"format": "pt"}}, 10)
    begin = file.stat().st_size - 10
    assert read_header(file) == {
        "a": TensorInfo(shape=(2,), dtype=torch.float32, file=file, start=begin),
        "b": TensorInfo(shape=(), dtype=torch.bfloat16, file=file, start=begin + 8),
    }


def test_tensors_come_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    file = write(tmp_path, dict(reversed(GOOD.items())), 10)
    assert list(read_header(file)) == ["a", "b"]


def test_an_empty_tensor_has_a_place_but_no_bytes(tmp_path: Path) -> None:
    empty = {"dtype": "F32", "shape": [0, 3], "data_offsets": [8, 8]}
    assert read_header(write(tmp_path, GOOD | {"empty": empty}, 10))["empty"].num_bytes == 0


def test_every_dtype_that_the_safetensors_package_writes_is_known(tmp_path: Path) -> None:
    tensors = {name: torch.zeros(3, dtype=dtype) for name, dtype in DTYPES.items()}
    save_file(tensors, tmp_path / "model.safetensors")
    found = read_header(tmp_path / "model.safetensors")
    assert {name: info.dtype for name, info in found.items()} == DTYPES


def test_a_truncated_file_says_how_much_is_missing_and_what_to_do(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD, 10)
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-3])
    message = f"{file} is truncated: it has {size - 3} bytes and its header describes {size}; .*gemcut pull"
    with pytest.raises(BadWeightFile, match=message):
        read_header(file)


def test_bytes_that_no_tensor_owns_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadWeightFile, match="is too long"):
        read_header(write(tmp_path, GOOD, 11))


@pytest.mark.parametrize("contents", [b"", b"\0\0\0", b"\xff" * 8, (1000).to_bytes(8, "little") + b"{}"])
def test_a_file_too_short_for_its_header_says_so(contents: bytes, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(contents)
    with pytest.raises(BadWeightFile, match=f"{file} has {len(contents)} bytes, too few for its header"):
        read_header(file)


@pytest.mark.parametrize(
    ("header", "what"),
    [
        (b"<html>not found</html>", "a header that is not JSON"),
        (b"\xff\xfe", "a header that is not JSON"),
        ([1], "a header that holds a JSON list and not an object"),
        (b'{"a": {}, "a": {}}', "a header that has the key 'a' twice"),
    ],
)
def test_a_header_that_is_no_json_object_says_so(header: Any, what: str, tmp_path: Path) -> None:
    with pytest.raises(BadWeightFile, match=what):
        read_header(write(tmp_path, header, 0))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"dtype": "F4"}, "dtype 'F4' is none of BOOL, U8"),
        ({"dtype": ["F32"]}, "dtype ['F32'] is none of"),
        ({"shape": [2.0]}, "shape [2.0] is no list of whole numbers"),
        ({"shape": [-2]}, "shape [-2] is no list of whole numbers"),
        ({"shape": [True]}, "shape [True] is no list of whole numbers"),
        ({"shape": 2}, "shape 2 is no list of whole numbers"),
        ({"data_offsets": [0]}, "data_offsets [0] are no beginning and end"),
        ({"data_offsets": [8, 0]}, "data_offsets [8, 0] are no beginning and end"),
        ({"shape": [3]}, "gives a 8 bytes, and 12 are what shape [3] and dtype F32 take"),
        ({"zebra": 1}, "and not dtype, shape and data_offsets"),
        ({"data_offsets": [2, 10]}, "has a at byte 2 of its data, where 0 was expected"),
    ],
)
def test_a_damaged_description_names_the_tensor(change: dict[str, Any], what: str, tmp_path: Path) -> None:
    file = write(tmp_path, GOOD | {"a": GOOD["a"] | change}, 10)
    with pytest.raises(BadWeightFile, match=re.escape(what)):
        read_header(file)


def test_a_description_that_is_no_object_names_the_tensor(tmp_path: Path) -> None:
    with pytest.raises(BadWeightFile, match="describes the tensor a wrongly: 3 and not"):
        read_header(write(tmp_path, {"a": 3}, 0))


def test_overlapping_tensors_are_refused(tmp_path: Path) -> None:
    header = GOOD | {"b": {"dtype": "BF16", "shape": [1], "data_offsets": [6, 8]}}
    with pytest.raises(BadWeightFile, match="has b at byte 6 of its data, where 8 was expected"):
        read_header(write(tmp_path, header, 8))


def test_a_gap_between_tensors_is_refused(tmp_path: Path) -> None:
    header = GOOD | {"b": {"dtype": "BF16", "shape": [1], "data_offsets": [10, 12]}}
    with pytest.raises(BadWeightFile, match="has b at byte 10 of its data, where 8 was expected"):
        read_header(write(tmp_path, header, 12))


def test_a_file_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(
        BadWeightFile, match=r"model.safetensors cannot be read \(Is a directory\); .*gemcut pull"
    ):
        read_header(tmp_path / "model.safetensors")
