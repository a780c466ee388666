from pathlib import Path

import pytest
from typer.testing import CliRunner

from gemcut.cli.main import build_app


def test_where_the_files_are_goes_to_stdout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def pull(source: str, *, progress: object) -> Path:
        assert source == "e2b"
        assert callable(progress)
        progress("downloading")
        return tmp_path

    monkeypatch.setattr("gemcut.cli.pull.pull_checkpoint", pull)
    result = CliRunner().invoke(build_app(), ["pull", "e2b"])
    assert result.stdout == f"{tmp_path}\n"
    assert result.stderr == "downloading\n"
