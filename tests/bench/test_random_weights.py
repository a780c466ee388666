"""Random weights make a model that loads, and whose logits are numbers that differ."""

from pathlib import Path

import pytest

from bench.random_weights import tensors
from gemcut.checkpoint.write import write_checkpoint
from gemcut.config import BlockForm, QuantizedConfig, TextConfig
from gemcut.quant.forms import EVERYTHING
from gemcut.quant.quantize import CARRIED
from tests.quant.models import EDGE, EXPERTS, config_of, logits, write_model


@pytest.mark.parametrize("form", [None, "int8", "int4"])
@pytest.mark.parametrize("text", [EDGE, EXPERTS], ids=["edge", "experts"])
def test_a_model_of_them_computes(tmp_path: Path, text: TextConfig, form: BlockForm | None) -> None:
    like = write_model(tmp_path / "like", text)
    files = {name: (like / name).read_bytes() for name in CARRIED if (like / name).is_file()}
    config = config_of(text)
    whole = config if form is None else QuantizedConfig(model=config, quantization=EVERYTHING[form])
    write_checkpoint(tmp_path / "made", whole, tensors(config.text, form), extra_files=files)
    made = logits(tmp_path / "made")
    assert made.isfinite().all()
    assert 0.05 < made.std() < 10
