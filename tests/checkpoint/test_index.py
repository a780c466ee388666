"""Which files hold a model's weights."""

import json
from pathlib import Path
from typing import Any

import pytest

from gemcut.checkpoint.index import weight_files
from gemcut.errors import BadWeightFile, CheckpointNotFound

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def write_index(folder: Path, contents: Any) -> None:
    text = contents if isinstance(contents, str) else json.dumps(contents)
    (folder / "model.safetensors.index.json").write_text(text)


def test_a_single_file_needs_no_index(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    assert weight_files(tmp_path) == {tmp_path / "model.safetensors": None}


def test_an_index_says_which_tensor_is_in_which_shard(tmp_path: Path) -> None:
    (tmp_path / FIRST).touch()
    (tmp_path / SECOND).touch()
    write_index(tmp_path, {"metadata": {}, "weight_map": {"c": SECOND, "a": FIRST, "b": FIRST}})
    assert weight_files(tmp_path) == {tmp_path / FIRST: {"a", "b"}, tmp_path / SECOND: {"c"}}


def test_no_weights_say_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointNotFound, match="has no model.safetensors and no .*index.json; .*gemcut pull"
    ):
        weight_files(tmp_path)


def test_weights_of_other_formats_are_named(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(CheckpointNotFound, match=r"gemcut does not read pytorch_model\.bin"):
        weight_files(tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    (tmp_path / FIRST).touch()
    write_index(tmp_path, {"weight_map": {"a": FIRST, "b": SECOND}})
    with pytest.raises(CheckpointNotFound, match=f"{tmp_path} lacks {SECOND}, which .*index.json names"):
        weight_files(tmp_path)


@pytest.mark.parametrize(
    "contents", ["{", [], {}, {"weight_map": {}}, {"weight_map": {"a": 1}}, {"weight_map": 3}]
)
def test_a_damaged_index_says_so(contents: Any, tmp_path: Path) -> None:
    write_index(tmp_path, contents)
    with pytest.raises(BadWeightFile, match="model.safetensors.index.json .*gemcut pull"):
        weight_files(tmp_path)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "..", "", "sub/model.safetensors"])
def test_an_index_cannot_point_out_of_its_folder(name: str, tmp_path: Path) -> None:
    write_index(tmp_path, {"weight_map": {"a": name}})
    with pytest.raises(BadWeightFile, match="is not a plain name"):
        weight_files(tmp_path)


def test_an_index_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").mkdir()
    with pytest.raises(BadWeightFile, match=r"cannot be read \(Is a directory\); .*gemcut pull"):
        weight_files(tmp_path)
