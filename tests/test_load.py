"""From a folder to a model: values, dtypes, devices, and what does not fit."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gemcut.checkpoint.config_file import read_config
from gemcut.errors import BadConfig, BadOption, BadTokenizer
from gemcut.load import PER_LAYER_TABLE, load, pick_device
from tests.tiny_model import write_tiny_model


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
    with pytest.raises(BadTokenizer, match=r"has \d+ tokens and the model \d+; put the model's own"):
        load(str(other), device="cpu", dtype=None, offline=True)


@pytest.mark.parametrize("key", ["eos_token_id", "suppress_tokens"])
def test_ids_beyond_the_vocabulary_are_refused(key: str, folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    edit_json(other / "generation_config.json", **{key: [99_999]})
    with pytest.raises(BadConfig, match="names the token 99999 and the model's ids end at"):
        load(str(other), device="cpu", dtype=None, offline=True)
