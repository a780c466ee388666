"""Checkpoints that we write, read by us and by transformers."""

import json
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from torch import Tensor

from gemcut.checkpoint import write
from gemcut.checkpoint.config_file import config_json, read_config
from gemcut.checkpoint.weights import WeightFiles
from gemcut.checkpoint.write import write_checkpoint
from gemcut.errors import BadOption, WeightMismatch
from tests.checkpoint.models import TEXT_ONLY


def tensors(count: int = 6) -> list[tuple[str, Tensor]]:
    return [(f"x{n}", torch.full((4,), float(n))) for n in range(count)]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_small_model_is_one_file(tmp_path: Path) -> None:
    write_checkpoint(
        tmp_path / "new/model", TEXT_ONLY, tensors(), extra_files={"chat_template.jinja": b"{{ x }}"}
    )
    folder = tmp_path / "new/model"
    assert names_in(folder) == ["chat_template.jinja", "config.json", "model.safetensors"]
    assert (folder / "chat_template.jinja").read_bytes() == b"{{ x }}"
    assert read_config(folder) == TEXT_ONLY
    for name, tensor in WeightFiles.open(folder).stream(dict(tensors())):
        assert torch.equal(tensor, dict(tensors())[name])


def test_a_big_model_is_shards_with_an_index(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, TEXT_ONLY, tensors(5), shard_bytes=32, extra_files={})
    shards = [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    assert names_in(tmp_path) == ["config.json", *shards, "model.safetensors.index.json"]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": 80}
    assert index["weight_map"] == dict(zip(("x0", "x1", "x2", "x3", "x4"), sorted(shards * 2), strict=False))
    seen = {name: tensor.tolist() for name, tensor in WeightFiles.open(tmp_path).stream(dict(tensors(5)))}
    assert seen == {name: tensor.tolist() for name, tensor in tensors(5)}


def test_a_tensor_bigger_than_a_shard_has_one_of_its_own(tmp_path: Path) -> None:
    given = [("a", torch.ones(1)), ("big", torch.ones(100)), ("b", torch.ones(1))]
    write_checkpoint(tmp_path, TEXT_ONLY, given, shard_bytes=32, extra_files={})
    assert len({info.file for info in WeightFiles.open(tmp_path).tensors.values()}) == 3


def test_one_shard_is_held_at_a_time(tmp_path: Path) -> None:
    """The stream is asked for a tensor only after the shard before it lies on disk."""
    on_disk = []

    def stream() -> Iterator[tuple[str, Tensor]]:
        for pair in tensors():
            on_disk.append(len(list(tmp_path.glob(".writing-*/shard-*"))))
            yield pair

    write_checkpoint(tmp_path, TEXT_ONLY, stream(), shard_bytes=32, extra_files={})
    assert on_disk == [0, 0, 0, 1, 1, 2]


def test_a_shard_on_disk_is_not_in_memory_any_more(tmp_path: Path) -> None:
    """A loop's variable, and enumerate's last pair, held it while the next one was filled."""
    alive: list[weakref.ref[Any]] = []
    held = []

    def stream() -> Iterator[tuple[str, Tensor]]:
        for number in range(9):
            array = np.full(4, number, np.float32)
            alive.append(weakref.ref(array))
            pair = f"x{number}", torch.from_numpy(array)
            del array
            held.append(sum(reference() is not None for reference in alive))
            yield pair
            del pair

    write_checkpoint(tmp_path, TEXT_ONLY, stream(), shard_bytes=32, extra_files={})
    assert max(held) == 3  # a shard of two, and what did not fit into it


def test_views_and_transposed_tensors_are_written_as_their_values(tmp_path: Path) -> None:
    table = torch.arange(12.0).view(3, 4)
    parts = [("top", table[:1]), ("rest", table[1:]), ("turned", table.T)]
    write_checkpoint(tmp_path, TEXT_ONLY, parts, extra_files={})
    seen = dict(WeightFiles.open(tmp_path).stream(["top", "rest", "turned"]))
    assert torch.equal(torch.cat([seen["top"], seen["rest"]]), table)
    assert torch.equal(seen["turned"], table.T)


def test_transformers_loads_what_we_write(tmp_path: Path) -> None:
    from transformers import Gemma4Config, Gemma4ForConditionalGeneration

    torch.manual_seed(0)
    values = {key: value for key, value in config_json(TEXT_ONLY).items() if key != "model_type"}
    built = Gemma4ForConditionalGeneration(Gemma4Config(**values))
    state = {name: tensor for name, tensor in built.state_dict().items() if name != "lm_head.weight"}
    for tensor in state.values():
        tensor.normal_()
    write_checkpoint(tmp_path, TEXT_ONLY, state.items(), shard_bytes=8192, extra_files={})
    assert len(list(tmp_path.glob("model-*"))) > 2
    loaded, problems = Gemma4ForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not problems["missing_keys"]
    assert not problems["unexpected_keys"]
    assert loaded.dtype == torch.float32
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, built.state_dict()[name]), name
    ids = torch.tensor([[2, 5, 7, 9]])
    assert torch.equal(loaded(ids).logits, built(ids).logits)


def test_a_model_is_not_overwritten_unasked(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, TEXT_ONLY, tensors(1), extra_files={})
    with pytest.raises(BadOption, match=f"{tmp_path} already has config.json; name another folder"):
        write_checkpoint(tmp_path, TEXT_ONLY, tensors(2), extra_files={})
    assert set(WeightFiles.open(tmp_path).tensors) == {"x0"}


def test_overwriting_leaves_no_old_shards_and_keeps_other_files(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, TEXT_ONLY, tensors(6), shard_bytes=16, extra_files={"notes.txt": b"mine"})
    write_checkpoint(tmp_path, TEXT_ONLY, tensors(1), extra_files={}, overwrite=True)
    assert names_in(tmp_path) == ["config.json", "model.safetensors", "notes.txt"]


def test_a_model_can_be_rewritten_from_its_own_files(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, TEXT_ONLY, tensors(4), shard_bytes=16, extra_files={})
    files = WeightFiles.open(tmp_path)
    write_checkpoint(tmp_path, TEXT_ONLY, files.stream(files.tensors), extra_files={}, overwrite=True)
    seen = {name: tensor.tolist() for name, tensor in WeightFiles.open(tmp_path).stream(dict(tensors(4)))}
    assert seen == {name: tensor.tolist() for name, tensor in tensors(4)}


def test_a_failure_on_the_way_leaves_the_old_model_whole(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, TEXT_ONLY, tensors(2), extra_files={})

    def broken() -> Iterator[tuple[str, Tensor]]:
        yield from tensors(4)
        raise RuntimeError("the power went out")

    with pytest.raises(RuntimeError, match="power"):
        write_checkpoint(tmp_path, TEXT_ONLY, broken(), shard_bytes=16, extra_files={}, overwrite=True)
    assert names_in(tmp_path) == ["config.json", "model.safetensors"]
    assert set(WeightFiles.open(tmp_path).tensors) == {"x0", "x1"}


@pytest.mark.parametrize("shard_bytes", [16, 1024])
def test_a_name_given_twice_is_an_error(shard_bytes: int, tmp_path: Path) -> None:
    with pytest.raises(WeightMismatch, match="the tensor x0 was given twice"):
        write_checkpoint(
            tmp_path, TEXT_ONLY, [*tensors(2), *tensors(1)], shard_bytes=shard_bytes, extra_files={}
        )
    assert names_in(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadOption, match=r"file/model cannot be written \(.*Not a directory.*; name another"):
        write_checkpoint(tmp_path / "file" / "model", TEXT_ONLY, tensors(1), extra_files={})


def test_a_disk_that_is_full_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(write, "save_file", full)
    with pytest.raises(BadOption, match="cannot be written .*No space left on device"):
        write_checkpoint(tmp_path, TEXT_ONLY, tensors(1), extra_files={})
    assert names_in(tmp_path) == []


def test_no_tensors_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightMismatch, match="no tensors to write"):
        write_checkpoint(tmp_path, TEXT_ONLY, [], extra_files={})
