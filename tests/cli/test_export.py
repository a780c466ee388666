import json
from pathlib import Path

import gguf
import pytest
from typer.testing import CliRunner, Result

from gemcut.cli.main import build_app
from gemcut.cli.model_facts import read_facts
from tests.quant.models import EDGE, NARROW, write_model
from tests.tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "plain", EDGE)


def gemcut(*arguments: str | Path) -> Result:
    return CliRunner().invoke(build_app(), [str(argument) for argument in arguments])


def test_an_exported_model_runs_and_answers_the_same(plain: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    done = gemcut("export", plain, "--gguf", file)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{file}\n"
    options = "Hello", "--max-tokens", "6", "--temperature", "0", "--dtype", "float32"
    assert gemcut("run", file, *options).stdout == gemcut("run", plain, *options).stdout
    facts, whole = read_facts(str(file)), read_facts(str(plain))
    assert (facts.parameters, facts.active, facts.text) == (whole.parameters, whole.active, whole.text)
    shown = gemcut("show", file)
    assert shown.exit_code == 0, shown.output
    assert str(file) in shown.stdout


def test_the_type_is_that_of_the_option(plain: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    assert gemcut("export", plain, "--gguf", file, "--type", "q8_0").exit_code == 0
    kinds = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(file).tensors}
    assert kinds["token_embd.weight"] == kinds["blk.1.ffn_down.weight"] == "Q8_0"


def test_a_file_that_is_there_is_replaced_only_when_it_is_said(plain: Path, tmp_path: Path) -> None:
    command = "export", plain, "--gguf", tmp_path / "x.gguf"
    assert gemcut(*command).exit_code == 0
    refused = gemcut(*command)
    assert refused.exit_code == 2
    assert refused.stderr.startswith(f"error: {tmp_path}/x.gguf is there already;")
    assert gemcut(*command, "--overwrite").exit_code == 0


def test_what_sees_and_hears_goes_into_a_second_file(tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "senses", senses=True)
    tokenizer = tmp_path / "senses" / "tokenizer.json"
    said = json.loads(tokenizer.read_text())
    said["model"]["vocab"]["th"] = said["model"]["vocab"].pop("\x0b")
    said["model"]["merges"] = [["t", "h"]]
    tokenizer.write_text(json.dumps(said))
    command = "export", tmp_path / "senses", "--gguf", tmp_path / "x.gguf"
    alone = gemcut(*command)
    assert "only the text part is exported; --mmproj FILE exports what sees and hears" in alone.stderr
    both = gemcut(*command, "--mmproj", tmp_path / "mmproj.gguf", "--overwrite")
    assert both.exit_code == 0, both.output
    assert both.stdout == f"{tmp_path}/x.gguf\n{tmp_path}/mmproj.gguf\n"
    assert gguf.GGUFReader(tmp_path / "mmproj.gguf").fields["general.type"].contents() == "mmproj"
    assert read_facts(str(tmp_path / "x.gguf")).takes == ("text",)


def test_a_folder_that_is_not_there_is_named(plain: Path, tmp_path: Path) -> None:
    refused = gemcut("export", plain, "--gguf", tmp_path / "absent" / "x.gguf")
    assert refused.exit_code == 2
    assert "absent/x.gguf cannot be written (No such file or directory)" in refused.stderr


def test_two_files_in_one_place_are_refused(plain: Path, tmp_path: Path) -> None:
    both = "--gguf", tmp_path / "x.gguf", "--mmproj", tmp_path / "." / "x.gguf"
    refused = gemcut("export", plain, *both)
    assert refused.exit_code == 2
    assert "x.gguf; name a file for each" in refused.stderr


def test_what_is_not_as_was_asked_for_is_said(tmp_path: Path) -> None:
    narrow = write_model(tmp_path / "narrow", NARROW)
    done = gemcut("export", narrow, "--gguf", tmp_path / "x.gguf", "--type", "q4_0")
    assert done.exit_code == 0, done.output
    assert "7 matrices stay as they are: their rows are no multiple of 32" in done.stderr


def test_a_second_file_that_cannot_be_made_leaves_no_first(plain: Path, tmp_path: Path) -> None:
    refused = gemcut("export", plain, "--gguf", tmp_path / "x.gguf", "--mmproj", tmp_path / "y.gguf")
    assert refused.exit_code == 2
    assert "has nothing that sees or hears" in refused.stderr
    assert list(tmp_path.iterdir()) == []
