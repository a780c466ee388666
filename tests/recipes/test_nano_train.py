from pathlib import Path

import numpy as np
import pytest
import torch

from gemcut.checkpoint.config_file import read_config, read_generation_config
from gemcut.errors import BadTraining
from gemcut.load import load
from gemcut.model.gemma4 import Gemma4
from gemcut.train.batches import Shape
from gemcut.train.copying import plant_copying
from gemcut.train.examples import from_lists
from gemcut.train.initial import initialise
from recipes.nano.config import nano_config
from recipes.nano.train import export, fitting

PACKAGED = Path(__file__).resolve().parents[2] / "gemcut/nano"


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if not (PACKAGED / name).exists():
            pytest.skip("needs nano's tokenizer in the package: python -m recipes.nano data and train")
        (folder / name).write_bytes((PACKAGED / name).read_bytes())
    return folder


def test_nano_has_the_edge_models_structure_in_four_to_seven_million_weights(tokenizer_folder: Path) -> None:
    config = nano_config(tokenizer_folder)
    with torch.device("meta"):
        weights = sum(parameter.numel() for parameter in Gemma4(config).parameters())
    assert 4_000_000 <= weights <= 7_000_000
    text = config.text
    assert text.hidden_size_per_layer_input > 0
    assert text.num_kv_shared_layers > 0
    assert {"sliding_attention", "full_attention"} == set(text.layer_types)
    assert text.head_dim != text.global_head_dim


def test_an_exported_model_loads_with_the_same_weights(tokenizer_folder: Path, tmp_path: Path) -> None:
    config = nano_config(tokenizer_folder)
    model = Gemma4(config)
    initialise(model, seed=0)
    plant_copying(model, seed=0)
    export(model, tokenizer_folder, tmp_path / "model")
    assert read_config(tmp_path / "model") == config
    generation = read_generation_config(tmp_path / "model")
    assert not generation.do_sample
    assert len(generation.stop_ids) == 3
    loaded = load(str(tmp_path / "model"), device="cpu", dtype=None, offline=True)
    for (name, ours), theirs in zip(model.named_parameters(), loaded.model.parameters(), strict=True):
        assert torch.equal(ours.bfloat16(), theirs), name
    assert sum(file.stat().st_size for file in (tmp_path / "model").iterdir()) < 15_000_000


def test_examples_that_fit_are_kept_whole() -> None:
    rows = [([1, 2, 3], [0, 0, 1])] * 10
    examples = from_lists([*rows, ([5] * 9, [0] + [1] * 8)])
    kept = fitting(examples, Shape(groups=1, tokens=8, learnt=4))
    assert kept.ids.tolist() == [1, 2, 3] * 10
    assert np.array_equal(kept.offsets, np.arange(0, 31, 3))


def test_rows_too_short_for_the_data_are_refused() -> None:
    with pytest.raises(BadTraining, match="0 of 1 examples fit into rows of 2 tokens"):
        fitting(from_lists([([1, 2, 3], [0, 0, 1])]), Shape(groups=1, tokens=2, learnt=2))
