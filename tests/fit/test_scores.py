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
