import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gemcut.cli.main import build_app
from gemcut.family import FAMILIES


def listed(*options: str) -> str:
    result = CliRunner().invoke(build_app(), ["list", *options])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.usefixtures("nano")
def test_every_size_has_a_row() -> None:
    rows = listed().splitlines()
    for row in FAMILIES:
        shown = [line for line in rows if line.removeprefix("*").split()[:1] == [row.name]]
        assert len(shown) == 1
        assert ("in the package" if row.hub_id is None else row.hub_id) in shown[0]


@pytest.mark.usefixtures("nano")
def test_json_says_what_is_on_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    rows = {row["name"]: row for row in json.loads(listed("--json"))}
    assert list(rows) == [row.name for row in FAMILIES]
    assert rows["nano"]["folder"] is not None
    assert rows["e2b"]["folder"] is None
    assert rows["e2b"]["load_bytes"] == 4_559_518_278
    assert rows["26b"]["takes"] == ["text", "image", "video"]
    assert list(rows["26b"]["media_tokens"]) == ["image", "video"]
    assert rows["e2b"]["media_tokens"]["audio"] == {"per_s": 25, "most_s": 30}
