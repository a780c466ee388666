"""`gemcut serve`: what its words and options mean."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from gemcut.cli.main import build_app
from gemcut.cli.serve import names_of


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("nano", ("nano",)),
        ("e2b", ("e2b", "google/gemma-4-E2B-it")),
        ("google/gemma-4-E2B-it", ("e2b", "google/gemma-4-E2B-it")),
        ("someone/gemma-4-E2B-tuned", ("someone/gemma-4-E2B-tuned",)),
        ("/models/mine.gguf", ("mine.gguf",)),
    ],
)
def test_a_model_answers_to_its_size_and_its_hub_id(source: str, names: tuple[str, ...]) -> None:
    assert names_of(source) == names


def test_a_folder_answers_to_its_own_name(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    assert names_of(str(folder)) == ("mine",)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "99999"], "Invalid value for '--port'"),
        (["--max-body-mb", "0"], "Invalid value for '--max-body-mb'"),
        (["--api-key", ""], "an API key is empty"),
        (["--kv-dtype", "int4"], "kv_dtype is 'int4'"),
        (["--speculate", "maybe"], "speculate is 'maybe'"),
        (["--host", "not a host"], "not a host port 8000 cannot be used"),
    ],
)
def test_what_cannot_be_served_is_told(arguments: list[str], told: str) -> None:
    done = CliRunner().invoke(build_app(), ["serve", *arguments])
    assert done.exit_code == 2
    assert told in " ".join(done.stderr.split())
