from dataclasses import replace
from pathlib import Path

import pytest

from gemcut.checkpoint.config_file import read_config
from gemcut.cli.opening import Loading, open_model, read_schema_file, read_tool_file
from gemcut.cli.screen import Screen
from gemcut.engine.sampling_params import SamplingParams
from gemcut.errors import BadConstraint, BadTools, UnknownModel
from tests.parity.tiny_drafter import write_drafter
from tests.tiny_model import write_tiny_model

CPU = Loading(device="cpu", dtype="float32", offline=True)


def test_a_folder_is_opened_wherever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """./nano is the folder, although "nano" is a size."""
    write_tiny_model(tmp_path / "nano")
    monkeypatch.chdir(tmp_path)
    gemma = open_model("./nano", CPU, Screen())
    assert gemma.config.text.hidden_size == 32


def test_a_drafter_is_opened_beside_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_model(tmp_path / "model")
    write_drafter(tmp_path / "drafter", read_config(tmp_path / "model").text)
    monkeypatch.chdir(tmp_path)
    gemma = open_model("./model", replace(CPU, drafter="./drafter"), Screen())
    without = open_model("./model", CPU, Screen())
    sampling = SamplingParams(max_tokens=20)
    assert gemma.complete("abc", sampling=sampling) == without.complete("abc", sampling=sampling)


def test_an_unknown_size_is_told() -> None:
    with pytest.raises(UnknownModel):
        open_model("27b", CPU, Screen())


def test_tools_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "tools.json"
    file.write_text('[{"name": "now", "description": "The time."}]')
    assert [tool["function"]["name"] for tool in read_tool_file(file)] == ["now"]
    file.write_text("[")
    with pytest.raises(BadTools, match="is not JSON"):
        read_tool_file(file)


def test_a_schema_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text('{"type": "integer"}')
    assert read_schema_file(file) == {"type": "integer"}
    file.write_text('{"type": "integer", "not": {}}')
    with pytest.raises(BadConstraint, match="'not'"):
        read_schema_file(file)
    file.write_text("{")
    with pytest.raises(BadConstraint, match="is not JSON"):
        read_schema_file(file)
