"""From a folder to a model: values, dtypes, devices, and what does not fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gemcut.checkpoint.config_file import read_config
from gemcut.checkpoint.write import write_checkpoint
from gemcut.errors import BadConfig, BadOption, BadTokenizer, BadWeightFile, WeightMismatch
from gemcut.load import PER_LAYER_TABLE, load, load_drafter, pick_device
from gemcut.model.drafter import Drafter
from tests.parity.tiny import TINY
from tests.parity.tiny_drafter import CLUSTERS, drafter_config, their_drafter, write_drafter
from tests.tiny_model import write_tiny_model

ORDERING = "masked_embedding.token_ordering"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_model(folder)
    return folder


def test_every_parameter_has_the_value_of_its_tensor(folder: Path) -> None:
    loaded = load(str(folder), device="cpu", dtype=None, offline=True)
    stored = load_file(folder / "model.safetensors")
    parameters = dict(loaded.model.named_parameters())
    assert parameters.keys() == stored.keys()
    for name, tensor in stored.items():
        torch.testing.assert_close(parameters[name].data, tensor, atol=0, rtol=0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_weights_come_in_the_dtype_that_was_asked_for(folder: Path, dtype: str) -> None:
    loaded = load(str(folder), device="cpu", dtype=dtype, offline=True)
    found = {p.dtype for name, p in loaded.model.named_parameters() if name != PER_LAYER_TABLE}
    assert found == {getattr(torch, dtype)}
    assert loaded.model.embed(torch.tensor([5])).per_layer.dtype == getattr(torch, dtype)


def test_without_a_dtype_the_config_decides(folder: Path) -> None:
    loaded = load(str(folder), device="cpu", dtype=None, offline=True)
    dtype = loaded.model.model.language_model.norm.weight.dtype
    assert dtype == getattr(torch, read_config(folder).dtype)


def test_no_weight_asks_for_a_gradient(folder: Path) -> None:
    loaded = load(str(folder), device="cpu", dtype=None, offline=True)
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_a_device_that_is_not_here_is_refused_with_those_that_are() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(BadOption, match=r"device 'cuda' cannot be used here .* this machine has: cpu"):
        pick_device("cuda")


def test_an_unknown_device_or_dtype_is_refused(folder: Path) -> None:
    with pytest.raises(BadOption, match="device 'abacus'"):
        pick_device("abacus")
    with pytest.raises(BadOption, match="dtype 'int3' is not one of bfloat16, float16, float32, float64"):
        load(str(folder), device="cpu", dtype="int3", offline=True)  # type: ignore[arg-type]


def edit_json(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["one more"] = len(tokenizer["model"]["vocab"])
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(BadTokenizer, match=r"has \d+ tokens and the model \d+; give the model its own"):
        load(str(other), device="cpu", dtype=None, offline=True)


def test_a_model_that_is_too_large_to_count_is_refused(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    config["text_config"]["intermediate_size"] = 2**60
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadConfig, match="other describes a model that is too large"):
        load(str(other), device="cpu", dtype=None, offline=True)


@pytest.mark.parametrize("key", ["eos_token_id", "suppress_tokens"])
def test_ids_beyond_the_vocabulary_are_refused(key: str, folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    edit_json(other / "generation_config.json", **{key: [99_999]})
    with pytest.raises(BadConfig, match="names the token 99999 and the model's ids end at"):
        load(str(other), device="cpu", dtype=None, offline=True)


def write_tiny_drafter(folder: Path, size: str) -> Drafter:
    return write_drafter(folder, TINY[size], CLUSTERS if size == "e2b" else None)


@pytest.mark.parametrize("size", ["e2b", "26b"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_drafter_has_the_values_of_its_tensors(size: str, dtype: torch.dtype, tmp_path: Path) -> None:
    want = write_tiny_drafter(tmp_path / "drafter", size).to(dtype).state_dict()
    got = load_drafter(tmp_path / "drafter", TINY[size], torch.device("cpu"), dtype).state_dict()
    assert got.keys() == want.keys()
    for name, tensor in want.items():
        torch.testing.assert_close(got[name], tensor, atol=0, rtol=0)


def test_a_drafter_that_transformers_wrote_is_read(tmp_path: Path) -> None:
    theirs = their_drafter(drafter_config("e4b"))
    theirs.masked_embedding.token_ordering.copy_(torch.arange(320))
    theirs.save_pretrained(tmp_path)
    drafter = load_drafter(tmp_path, TINY["e4b"], torch.device("cpu"), torch.float32)
    torch.testing.assert_close(drafter.pre_projection.weight, theirs.pre_projection.weight, atol=0, rtol=0)


def test_a_drafter_of_another_model_is_refused(tmp_path: Path) -> None:
    write_tiny_drafter(tmp_path / "drafter", "e2b")
    with pytest.raises(BadConfig, match="num_key_value_heads is 1 and the target's 4; .* name the assistant"):
        load_drafter(tmp_path / "drafter", TINY["31b"], torch.device("cpu"), torch.float32)


def test_a_drafter_whose_clusters_name_a_token_twice_is_refused(tmp_path: Path) -> None:
    drafter = write_tiny_drafter(tmp_path / "drafter", "e2b")
    drafter.masked_embedding.token_ordering[7] = 3
    write_checkpoint(
        tmp_path / "drafter",
        drafter.config,
        drafter.state_dict().items(),
        extra_files={},
        overwrite=True,
    )
    with pytest.raises(BadWeightFile, match="does not name each of the 320 tokens once"):
        load_drafter(tmp_path / "drafter", TINY["e2b"], torch.device("cpu"), torch.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("post_projection.weight"), "it lacks post_projection.weight"),
        (lambda s: s.update(extra=torch.zeros(1)), "it has, unknown to this model, extra"),
        (lambda s: s.update({ORDERING: torch.arange(320.0)}), "dtype that is not int64"),
    ],
)
def test_a_drafter_s_tensors_are_all_there_and_no_others(
    change: Callable[[dict[str, torch.Tensor]], object], message: str, tmp_path: Path
) -> None:
    drafter = write_tiny_drafter(tmp_path / "right", "e2b")
    tensors = dict(drafter.state_dict())
    change(tensors)
    write_checkpoint(tmp_path / "wrong", drafter.config, tensors.items(), extra_files={})
    with pytest.raises(WeightMismatch, match=message):
        load_drafter(tmp_path / "wrong", TINY["e2b"], torch.device("cpu"), torch.float32)
