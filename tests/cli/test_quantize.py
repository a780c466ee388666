from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gemcut.checkpoint.config_file import CONFIG_FILE
from gemcut.checkpoint.quantization_section import read_quantization
from gemcut.cli.main import build_app
from gemcut.cli.model_facts import read_facts
from gemcut.config import Quantization
from tests.quant.models import BIG, EDGE, NARROW, write_model


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "plain", EDGE)


def gemcut(*arguments: str | Path) -> Result:
    return CliRunner().invoke(build_app(), [str(argument) for argument in arguments])


def test_a_quantised_model_runs_and_is_shown(plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    done = gemcut("quantize", plain, "--to", "int4", "--out", out)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{out}\n"
    assert f"run it with: gemcut run {out}" in done.stderr
    answer = gemcut("run", out, "Hello", "--max-tokens", "4", "--temperature", "0")
    assert answer.exit_code == 0, answer.output
    facts, whole = read_facts(str(out)), read_facts(str(plain))
    assert (facts.parameters, facts.active) == (whole.parameters, whole.active)
    assert facts.disk_bytes < whole.disk_bytes / 2


def test_each_part_has_an_option_of_its_own(plain: Path, tmp_path: Path) -> None:
    options = "--embedding", "int8", "--per-layer-table", "none"
    assert gemcut("quantize", plain, "--to", "int4", "--out", tmp_path / "out", *options).exit_code == 0
    assert read_quantization(tmp_path / "out" / CONFIG_FILE) == Quantization(
        projections="int4", embedding="int8", per_layer_table=None
    )


def test_what_is_there_is_replaced_only_when_it_is_said(plain: Path, tmp_path: Path) -> None:
    command = "quantize", plain, "--to", "int8", "--out", tmp_path / "out"
    assert gemcut(*command).exit_code == 0
    refused = gemcut(*command)
    assert refused.exit_code == 2
    assert refused.stderr.startswith(f"error: {tmp_path}/out already has config.json;")
    assert gemcut(*command, "--overwrite").exit_code == 0


def test_a_form_that_there_is_not_is_refused(plain: Path, tmp_path: Path) -> None:
    refused = gemcut("quantize", plain, "--to", "int3", "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert "'int3' is not one of 'int4', 'int8'" in refused.stderr


def test_a_quantised_model_is_not_quantised_again(plain: Path, tmp_path: Path) -> None:
    assert gemcut("quantize", plain, "--to", "int8", "--out", tmp_path / "out").exit_code == 0
    refused = gemcut("quantize", tmp_path / "out", "--to", "int4", "--out", tmp_path / "again")
    assert refused.exit_code == 2
    assert "is in blocks already; start from the original model" in refused.stderr


def test_a_choice_for_a_table_that_there_is_not_is_refused(tmp_path: Path) -> None:
    big = write_model(tmp_path / "big", BIG)
    refused = gemcut("quantize", big, "--to", "int4", "--out", tmp_path / "out", "--per-layer-table", "int8")
    assert refused.exit_code == 2
    assert "has no per-layer embeddings; leave out --per-layer-table" in refused.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_named(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    refused = gemcut("quantize", plain, "--to", "int4", "--out", tmp_path / "file" / "out")
    assert refused.exit_code == 2
    assert "file/out cannot be written" in refused.stderr


def test_matrices_that_stay_are_counted(tmp_path: Path) -> None:
    narrow = write_model(tmp_path / "narrow", NARROW)
    done = gemcut("quantize", narrow, "--to", "int4", "--out", tmp_path / "out")
    assert "7 matrices stay as they are: their rows are no multiple of 32" in done.stderr
