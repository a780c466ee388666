from pathlib import Path

import pytest

from gemcut.config import Quantization
from gemcut.errors import BadOption
from gemcut.fit.weights import count_weights
from gemcut.opened import Opened, open_checkpoint
from gemcut.quant.export import Exporting
from gemcut.quant.quantize import Quantizing
from gemcut.speed.variants import stored_name, variants, weights_of
from tests.quant.models import EDGE, write_model
from tests.speed.models import write_bf16


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return write_bf16(tmp_path_factory.mktemp("models") / "plain")


def in_blocks(plain: Opened, folder: Path, scheme: Quantization) -> Opened:
    work = Quantizing(source=plain, quantization=scheme)
    work.write(folder, work.tensors(), overwrite=False)
    return open_checkpoint(folder)


def test_each_precision_is_measured_once(plain: Opened) -> None:
    choices: list[str] = ["stored", "int4", "bf16", "int4"]
    assert [variant.name for variant in variants(plain, choices)] == ["bf16", "int4"]


def test_what_is_stored_is_loaded_from_where_it_is(plain: Opened, tmp_path: Path) -> None:
    (stored,) = variants(plain, ["stored"])
    assert stored.placed(tmp_path) is plain
    assert stored.num_bytes == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["int8", "int4"])
def test_what_is_not_is_made_in_a_folder(plain: Opened, form: str, tmp_path: Path) -> None:
    (variant,) = variants(plain, [form])
    placed = variant.placed(tmp_path)
    assert stored_name(placed) == form
    written = sum(info.num_bytes for info in placed.weights.tensors.values())
    assert variant.num_bytes == written


def test_float32_can_be_bf16(tmp_path: Path) -> None:
    wide = open_checkpoint(write_model(tmp_path / "wide", EDGE))
    stored, narrow = variants(wide, ["stored", "bf16"])
    assert (stored.name, stored.dtype, narrow.name, narrow.dtype) == ("float32", None, "bf16", "bfloat16")
    assert weights_of(wide, narrow.dtype) == count_weights(wide.config.text, {}, 2)
    whole, half = weights_of(wide, stored.dtype).token_bytes, weights_of(wide, narrow.dtype).token_bytes
    assert whole == {"bf16": 2 * half["bf16"]}


def test_blocks_stay_what_they_are(plain: Opened, tmp_path: Path) -> None:
    small = in_blocks(
        plain, tmp_path / "small", Quantization(projections="int4", embedding="int8", per_layer_table=None)
    )
    assert stored_name(small) == "int4+int8"
    with pytest.raises(BadOption, match="is in blocks already"):
        variants(small, ["int4"])
    with pytest.raises(BadOption, match=r"is in int4\+int8 and cannot be bf16 again; name the original"):
        variants(small, ["bf16"])
    weights = weights_of(small, None)
    assert set(weights.token_bytes) == {"bf16", "int8", "int4"}
    stored = sum(info.num_bytes for info in small.weights.tensors.values())
    assert weights.text_bytes + weights.table_bytes == stored


def test_a_gguf_file_runs_as_it_is(plain: Opened, tmp_path: Path) -> None:
    work = Exporting(source=plain, kind="Q8_0")
    work.write(tmp_path / "x.gguf", work.pieces(), overwrite=False)
    file = open_checkpoint(tmp_path / "x.gguf")
    assert [variant.name for variant in variants(file, ["stored"])] == ["int8"]
    with pytest.raises(BadOption, match="is a GGUF file, which runs as it is"):
        variants(file, ["int4"])
