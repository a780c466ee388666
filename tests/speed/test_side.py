from pathlib import Path

import pytest

from gemcut.errors import BenchFailed
from gemcut.speed.order import Shape
from gemcut.speed.side import Side
from tests.speed.fake import write_llama_bench

ORDER = Shape(prompt_tokens=50, batch=1, new_tokens=4).order(range(9), 0)


def given(program: Path) -> dict[str, object]:
    return {"program": str(program), "file": "x.gguf", "threads": 1, "flags": [], "on_cpu": True}


def test_a_side_answers_from_a_process_of_its_own(tmp_path: Path) -> None:
    with Side("llama.cpp", given(write_llama_bench(tmp_path))) as side:
        assert side.about is None
        assert [side.take(ORDER).prefill_s for _ in range(2)] == [0.05, 0.05]
        assert side.about is not None
        assert side.about.title.startswith("llama.cpp, build 9000")


def test_what_goes_wrong_in_it_is_told_with_its_name(tmp_path: Path) -> None:
    program = write_llama_bench(tmp_path, "sys.exit('no model')")
    with (
        pytest.raises(BenchFailed, match=r"^llama\.cpp: llama-bench ended with code 1: no model$"),
        Side("llama.cpp", given(program)) as side,
    ):
        side.take(ORDER)


def test_a_process_that_dies_leaves_its_last_words(tmp_path: Path) -> None:
    """A program that is gone is no error that the process foresees."""
    with (
        pytest.raises(BenchFailed, match=r"that measures llama\.cpp ended: FileNotFoundError: .*nowhere"),
        Side("llama.cpp", given(tmp_path / "nowhere")) as side,
    ):
        side.take(ORDER)


def test_a_side_that_cannot_be_built_is_told(tmp_path: Path) -> None:
    ours = {"place": str(tmp_path), "device": "cpu", "dtype": None, "threads": 1, "most_running": 1}
    with pytest.raises(BenchFailed, match=r"^gemcut: .* has no config\.json"):
        Side("gemcut", ours)
