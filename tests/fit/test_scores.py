from pathlib import Path

import pytest

from gemcut.family import FAMILIES
from gemcut.fit.scores import SCORES

NAMES = frozenset(row.name for row in FAMILIES)


@pytest.mark.parametrize("score", SCORES, ids=lambda score: score.task)
def test_a_row_is_about_sizes_that_there_are_and_in_percent(score: object) -> None:
    assert set(score.by_size) <= NAMES  # type: ignore[attr-defined]
    assert all(0 < value < 100 for value in score.by_size.values())  # type: ignore[attr-defined]
    assert score.source.startswith("https://")  # type: ignore[attr-defined]


@pytest.mark.parametrize("score", SCORES, ids=lambda score: score.task)
def test_only_sizes_that_take_the_input_have_a_score(score: object) -> None:
    takes = {row.name for row in FAMILIES if score.takes in row.takes}  # type: ignore[attr-defined]
    assert set(score.by_size) <= takes  # type: ignore[attr-defined]


def test_errors_are_best_where_they_are_fewest() -> None:
    speech = next(score for score in SCORES if score.task == "speech")
    assert speech.best(NAMES) == "12b"
    assert speech.best(frozenset({"e2b", "e4b"})) == "e4b"


def test_what_nothing_is_published_of_is_never_best() -> None:
    assert SCORES[0].best(frozenset({"nano"})) is None
    assert SCORES[0].best(frozenset({"nano", "e2b"})) == "e2b"


FACTS = {  # a row of the report's tables, and which of a cell's numbers
    "knowledge": ("MMLU Pro", 0),
    "mathematics": ("AIME 2026, no tools", 0),
    "code": ("LiveCodeBench v6", 0),
    "science": ("GPQA Diamond", 0),
    "instructions": ("IFBench", 0),
    "languages": ("MMMLU", 0),
    "calling tools": ("Tau2 airline / retail / telecom", 1),
    "long texts": ("MRCR v2 8-needle 128k", 0),
    "pictures": ("MMMU Pro", 1),  # 1,120 tokens, then 280
    "documents": ("InfographicVQA", 0),
}


def test_the_figures_are_the_published_ones(shared: Path) -> None:
    lines = (shared / "facts/benchmarks.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    table = {row[0]: row[1:] for row in reversed(cells)}  # the first of a name
    for score in SCORES:
        if score.task == "speech":
            continue
        row, index = FACTS[score.task]
        assert list(score.by_size.values()) == [float(cell.split("/")[index]) for cell in table[row][:5]], row


def test_the_errors_in_speech_are_the_published_ones(shared: Path) -> None:
    text = (shared / "facts/benchmarks.md").read_text()
    speech = next(score for score in SCORES if score.task == "speech").by_size
    errors = "/".join(f"{speech[size] / 100:.3f}" for size in ("e2b", "e4b", "12b"))
    assert f"FLEURS WER (CER for ko, ja, zh) E2B/E4B/12B: en {errors}," in text
