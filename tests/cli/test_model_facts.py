from pathlib import Path

import pytest

from gemcut.cli.model_facts import read_facts
from gemcut.errors import CheckpointError, UnknownModel
from tests.tiny_model import CONTEXT, write_tiny_model


def test_a_size_is_known_without_its_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    facts = read_facts("26b")
    assert facts == read_facts("google/gemma-4-26B-A4B-it")
    assert facts.folder is None
    assert facts.generation is None
    assert facts.takes == ("text", "image", "video")
    assert round(facts.active / 1e9, 1) == 3.8


def test_a_folder_is_counted_tensor_by_tensor(tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "model")
    facts = read_facts(str(tmp_path / "model"))
    table = facts.text.vocab_size * 4 * 4  # vocabulary x layers x per-layer width
    weights = (tmp_path / "model" / "model.safetensors").stat().st_size
    assert 0 < weights - 4 * facts.parameters < 10_000  # float32, and a header
    assert facts.active == facts.parameters - table
    assert facts.load_bytes == 2 * facts.active
    assert facts.text.max_position_embeddings == CONTEXT
    assert facts.generation is not None
    assert facts.takes == ("text",)


def test_what_is_nowhere_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel):
        read_facts("27b")
    with pytest.raises(CheckpointError):
        read_facts(str(tmp_path / "none"))
