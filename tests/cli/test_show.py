import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gemcut.cli.main import build_app
from tests.tiny_model import write_tiny_model


@pytest.fixture(autouse=True)
def _nothing_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(build_app(), ["show", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_size_is_shown_with_what_it_needs() -> None:
    text = shown("e2b")
    for fact in (
        "Gemma 4 E2B (google/gemma-4-E2B-it)",
        "text, image, audio, video",
        "+ image      up to 280 tokens; 70, 140, 560, 1120 with --image-tokens",
        "+ audio      25 tokens a second, up to 30 s",
        "+ video      up to 70 tokens a frame and its time; 32 frames by default",
        "no; `gemcut pull e2b` downloads 10.2 GB",
        "5.10 B, of which a token computes with 2.28 B",
        "35: 28 see 512 tokens, 7 see all; the last 20 reuse earlier keys and values",
        "4.56 GB for the text model's weights in bfloat16",
        "812 MB for the keys and values of 131,072 tokens",
        "6.14 kB of keys and values",
    ):
        assert fact in text


def test_experts_are_shown() -> None:
    assert "2112 beside 8 of 128 experts of 704" in shown("26b")


def test_what_a_model_does_not_take_has_no_price(tmp_path: Path) -> None:
    assert "+ audio" not in shown("31b")
    write_tiny_model(tmp_path / "model")
    assert json.loads(shown(str(tmp_path / "model"), "--json"))["media_tokens"] == {}
    write_tiny_model(tmp_path / "senses", senses=True)
    costs = json.loads(shown(str(tmp_path / "senses"), "--json"))["media_tokens"]
    assert costs == {
        "image": {"most": 280, "budgets": [70, 140, 280, 560, 1120]},
        "audio": {"per_s": 25, "most_s": 30},
        "video": {"per_frame": 70, "frames": 32, "most_frames": 60},
    }


def test_a_folder_is_shown_with_its_defaults(tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "model")
    text = shown(str(tmp_path / "model"))
    assert "4: 2 see 24 tokens, 2 see all; the last 2 reuse earlier keys and values" in text
    assert "the likeliest token" in text


def test_json_has_the_same(tmp_path: Path) -> None:
    facts = json.loads(shown("31b", "--json"))
    assert facts["layer_types"].count("full_attention") == 10
    # 2 bytes x 1,024 x (50 layers x 16 heads x K and V of 256, 10 x 4 x rows of 640 for both)
    assert facts["cache_bytes"]["1024"] == 891_289_600
    assert facts["generation"] is None
    write_tiny_model(tmp_path / "model")
    assert json.loads(shown(str(tmp_path / "model"), "--json"))["generation"]["do_sample"] is False
