import json
from pathlib import Path

import pytest
import transformers

from gemcut.errors import BenchFailed
from gemcut.speed.generate import Generate
from gemcut.speed.order import Shape


@pytest.mark.parametrize("batch", [1, 3])
def test_generate_is_timed_token_by_token(nano: Path, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    side = Generate(str(nano), "cpu", "bfloat16", 1)
    assert side._model.model.language_model.config._attn_implementation == "sdpa"
    made: list[tuple[int, ...]] = []
    generate = side._model.generate

    def watched(*given, **options):  # type: ignore[no-untyped-def]
        ids = generate(*given, **options)
        made.append(tuple(ids.shape))
        return ids

    monkeypatch.setattr(side._model, "generate", watched)
    taken = side.take(Shape(prompt_tokens=60, batch=batch, new_tokens=4).order(range(300, 600), 0))
    assert made == [(batch, 60 + 1 + 4)]
    assert taken.step_s > 0
    assert taken.prefill_s > 0
    assert side.about().title == f"transformers {transformers.__version__}"


def test_a_model_that_the_version_does_not_know_is_told(nano: Path, tmp_path: Path) -> None:
    said = json.loads((nano / "config.json").read_text()) | {"model_type": "gemma14"}
    (tmp_path / "config.json").write_text(json.dumps(said))
    with pytest.raises(BenchFailed, match="does not know this model .*gemma14.*; pip install -U"):
        Generate(str(tmp_path), "cpu", "bfloat16", 1)
