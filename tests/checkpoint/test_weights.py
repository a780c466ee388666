"""Weights mapped from disk, one tensor at a time."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from gemcut.checkpoint.safetensors_header import DTYPES
from gemcut.checkpoint.weights import WeightFiles
from gemcut.errors import BadWeightFile, CheckpointNotFound, WeightMismatch

MIB = 2**20


def tensors() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "a": torch.randn(3, 5),
        "b": torch.randn(7).bfloat16(),
        "scalar": torch.tensor(2.5, dtype=torch.bfloat16),
        "empty": torch.empty(0, 4),
        "flags": torch.tensor([True, False]),
    }


def write_shards(folder: Path, shards: list[dict[str, Tensor]]) -> None:
    places = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file(shard, folder / name)
        places |= dict.fromkeys(shard, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def resident_file_bytes() -> int:
    """How much of mapped files this process holds in memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssFile:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssFile")


def test_a_stream_gives_every_value(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / "model.safetensors")
    files = WeightFiles.open(tmp_path)
    seen = {name: tensor.clone() for name, tensor in files.stream(files.tensors)}
    assert seen.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert seen[name].dtype == tensor.dtype
        assert torch.equal(seen[name], tensor), name


@pytest.mark.parametrize("name", DTYPES)
def test_values_of_every_dtype_survive(name: str, tmp_path: Path) -> None:
    tensor = torch.tensor([0, 1, 1], dtype=torch.float32).to(DTYPES[name])
    save_file({"x": tensor}, tmp_path / "model.safetensors")
    read = WeightFiles.open(tmp_path).mapped("x")
    assert read.dtype == tensor.dtype
    assert read.view(torch.uint8).tolist() == tensor.view(torch.uint8).tolist()


def test_shards_are_one_model(tmp_path: Path) -> None:
    x, y, z = torch.randn(3), torch.randn(2, 2), torch.randn(1)
    write_shards(tmp_path, [{"z": z}, {"x": x, "y": y}])
    files = WeightFiles.open(tmp_path)
    seen = {name: tensor.clone() for name, tensor in files.stream(["x", "y", "z"])}
    assert torch.equal(seen["x"], x)
    assert torch.equal(seen["y"], y)
    assert torch.equal(seen["z"], z)


def test_only_what_was_asked_for_comes_in_the_order_of_the_disk(tmp_path: Path) -> None:
    write_shards(tmp_path, [{"z": torch.ones(1)}, {"y": torch.ones(1)}, {"x": torch.ones(1)}])
    files = WeightFiles.open(tmp_path)
    assert [name for name, _ in files.stream(["x", "z"])] == ["z", "x"]


def test_a_view_that_is_kept_stays_valid(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / "model.safetensors")
    files = WeightFiles.open(tmp_path)
    kept = dict(files.stream(files.tensors))
    del files
    for name, tensor in tensors().items():
        assert torch.equal(kept[name], tensor), name


def test_an_odd_header_costs_a_copy_and_no_value(tmp_path: Path) -> None:
    """Old writers did not pad the header, so numbers may begin at any byte."""
    for blanks in range(4):
        text = b'{"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}' + b" " * blanks
        data = torch.tensor([1.5, -2.0]).numpy().tobytes()
        (tmp_path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
        assert WeightFiles.open(tmp_path).mapped("x").tolist() == [1.5, -2.0]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_stream_holds_one_tensor_at_a_time(tmp_path: Path) -> None:
    save_file(
        {f"x{n}": torch.full((8 * MIB,), n, dtype=torch.uint8) for n in range(8)},
        tmp_path / "model.safetensors",
    )
    files = WeightFiles.open(tmp_path)
    before = resident_file_bytes()
    kept, most = [], 0
    for name, tensor in files.stream(files.tensors):
        assert int(tensor.sum()) == 8 * MIB * int(name[1:])
        kept.append(tensor)  # even a caller that holds on to the views gives their memory back
        most = max(most, resident_file_bytes() - before)
    assert 7 * MIB < most < 12 * MIB
    assert resident_file_bytes() - before < 4 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_mapped_table_costs_the_rows_that_are_read(tmp_path: Path) -> None:
    rows = 4096
    save_file({"table": torch.arange(rows)[:, None].repeat(1, 2048)}, tmp_path / "model.safetensors")
    before = resident_file_bytes()
    table = WeightFiles.open(tmp_path).mapped("table")
    assert table.nbytes == 64 * MIB
    assert table[torch.tensor([3, 4000]), 5].tolist() == [3, 4000]
    assert resident_file_bytes() - before < 8 * MIB


def test_a_decoder_saved_alone_gets_the_names_of_a_whole_model(tmp_path: Path) -> None:
    alone = {"model.embed_tokens.weight": torch.ones(2), "model.layers.0.layer_scalar": torch.ones(1)}
    save_file(alone, tmp_path / "model.safetensors")
    assert set(WeightFiles.open(tmp_path).tensors) == {
        "model.language_model.embed_tokens.weight",
        "model.language_model.layers.0.layer_scalar",
    }


def test_a_name_that_is_not_there_is_named(tmp_path: Path) -> None:
    save_file({"x": torch.ones(1)}, tmp_path / "model.safetensors")
    files = WeightFiles.open(tmp_path)
    with pytest.raises(WeightMismatch, match="has no tensor y among its 1"):
        list(files.stream(["x", "y"]))
    with pytest.raises(WeightMismatch, match="has no tensor y among its 1"):
        files.mapped("y")


def test_a_folder_without_weights_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match="has no model.safetensors"):
        WeightFiles.open(tmp_path)


def test_a_tensor_that_the_index_misplaces_is_named(tmp_path: Path) -> None:
    write_shards(tmp_path, [{"x": torch.ones(1)}, {"y": torch.ones(1)}])
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(index.read_text().replace('"y"', '"z"'))
    with pytest.raises(BadWeightFile, match="model-00002-of-00002.safetensors has the tensor y, unlike what"):
        WeightFiles.open(tmp_path)
    places = json.loads(index.read_text())["weight_map"]
    both = {"weight_map": places | {"y": places["z"]}}
    index.write_text(json.dumps(both))
    with pytest.raises(
        BadWeightFile, match="model-00002-of-00002.safetensors lacks the tensor z, unlike what"
    ):
        WeightFiles.open(tmp_path)


def test_a_truncated_shard_is_named_before_any_tensor_is_read(tmp_path: Path) -> None:
    write_shards(tmp_path, [{"x": torch.ones(9)}, {"y": torch.ones(9)}])
    shard = tmp_path / "model-00002-of-00002.safetensors"
    os.truncate(shard, shard.stat().st_size - 1)
    with pytest.raises(BadWeightFile, match=f"{shard} is truncated"):
        WeightFiles.open(tmp_path)


def test_a_file_that_shrinks_while_it_is_read_is_an_error_and_no_crash(tmp_path: Path) -> None:
    save_file({"x": torch.ones(MIB)}, tmp_path / "model.safetensors")
    files = WeightFiles.open(tmp_path)
    os.truncate(tmp_path / "model.safetensors", 4096)
    with pytest.raises(BadWeightFile, match="changed while it was read"):
        files.mapped("x")
