"""What config.json says of weights in blocks."""

import json
from pathlib import Path

import pytest

from gemcut.checkpoint.config_file import config_json, quantized_config_json, read_config
from gemcut.checkpoint.quantization_section import read_quantization
from gemcut.config import Quantization, QuantizedConfig
from gemcut.errors import BadConfig
from tests.checkpoint.models import EDGE

CHOICE = Quantization(projections="int4", embedding="int8", per_layer_table=None)


def write(folder: Path, values: object) -> Path:
    (folder / "config.json").write_text(json.dumps(values))
    return folder / "config.json"


def test_what_was_written_is_read(tmp_path: Path) -> None:
    file = write(tmp_path, quantized_config_json(QuantizedConfig(model=EDGE, quantization=CHOICE)))
    assert read_quantization(file) == CHOICE
    assert read_config(tmp_path) == EDGE


def test_a_plain_model_has_none(tmp_path: Path) -> None:
    assert read_quantization(write(tmp_path, config_json(EDGE))) is None
    assert read_quantization(write(tmp_path, config_json(EDGE) | {"quantization_config": None})) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quant_method": "awq"}, "quant_method is 'awq', which gemcut does not read; .*gemcut quantize"),
        ({"projections": "int3"}, "projections is 'int3', .* or \"int8\" or null"),
        ({"bits": 4}, "bits is a key that gemcut does not know"),
    ],
)
def test_another_scheme_is_refused_with_what_to_do(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    values = quantized_config_json(QuantizedConfig(model=EDGE, quantization=CHOICE))
    values["quantization_config"] |= change
    with pytest.raises(BadConfig, match=rf"quantization_config\.{message}"):
        read_quantization(write(tmp_path, values))


def test_a_scheme_without_a_method_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="quant_method is None, which gemcut does not read"):
        read_quantization(write(tmp_path, {"quantization_config": {"bits": 4}}))
