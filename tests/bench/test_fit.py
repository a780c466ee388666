"""The comparison's own code; its figures need a checkpoint in real shapes."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench import fit
from gemcut.config import BlockForm, Quantization
from gemcut.engine.main_memory import MainMemory
from gemcut.family import family
from gemcut.fit.estimate import Place, estimate
from gemcut.fit.rates import Rates
from gemcut.fit.weights import PRECISIONS
from gemcut.opened import open_checkpoint
from gemcut.quant.forms import EVERYTHING
from gemcut.quant.quantize import Quantizing
from gemcut.speed.order import Taken
from tests.tiny_model import write_tiny_model

RATES = Rates(
    read=dict.fromkeys(PRECISIONS, 25e9), multiply=dict.fromkeys(PRECISIONS, 140e9), layer_s=1e-4, row_s=0.0
)


TAKEN = [Taken(prefill_s=prefill, step_s=step) for prefill, step in ((4.0, 0.25), (5.12, 0.2), (6.0, 0.1))]


def test_ratios_are_of_predicted_to_measured() -> None:
    place = Place(kind="cpu", memory=MainMemory(total_bytes=0, free_bytes=0), rates=RATES)
    predicted = estimate(family("e2b"), "bf16", place, 512)
    lines = list(fit.lines([predicted], TAKEN, 5_500_000_000))
    assert lines[1].split()[:2] == ["decode,", "tok/s"]
    assert float(lines[1].split()[3]) == 5.0
    assert float(lines[2].split()[3]) == 100.0
    assert predicted.decode_per_s is not None
    assert float(lines[1].split()[4]) == pytest.approx(predicted.decode_per_s / 5.0, abs=0.01)
    assert float(lines[3].split()[4]) == pytest.approx(predicted.memory_bytes / 5.5e9, abs=0.01)


def test_nano_is_known_by_its_config(nano: Path) -> None:
    row, precision = fit.what_it_is(nano)
    assert (row.name, precision) == ("nano", "bf16")


def quantised(nano: Path, folder: Path, scheme: Quantization) -> Path:
    work = Quantizing(source=open_checkpoint(nano), quantization=scheme)
    work.write(folder, work.tensors(), overwrite=False)
    return folder


@pytest.mark.parametrize("form", ["int8", "int4"])
def test_a_checkpoint_in_blocks_is_known_by_its_tensors(nano: Path, tmp_path: Path, form: BlockForm) -> None:
    folder = quantised(nano, tmp_path / form, EVERYTHING[form])
    assert fit.what_it_is(folder)[1] == form


def test_a_checkpoint_of_which_only_a_part_is_in_blocks_is_refused(nano: Path, tmp_path: Path) -> None:
    """It was taken for int4 once, whose head is read much more quickly than one in bfloat16."""
    scheme = replace(EVERYTHING["int4"], embedding=None)
    with pytest.raises(SystemExit, match="is not all in one of bf16, int8, int4"):
        fit.what_it_is(quantised(nano, tmp_path / "part", scheme))


def test_a_checkpoint_of_no_known_size_is_refused(tmp_path: Path) -> None:
    write_tiny_model(tmp_path)
    with pytest.raises(SystemExit, match="is none of nano, e2b, e4b, 12b, 26b, 31b"):
        fit.what_it_is(tmp_path)
