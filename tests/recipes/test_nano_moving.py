"""Films for nano: the same for a seed, and the shapes move as the answer says."""

import random
import re
from collections.abc import Iterator

import pytest
from PIL import Image

from recipes.nano import moving
from recipes.nano.drawing import KINDS
from recipes.nano.moving import FAMILIES, STILL, Film, draw
from tests.recipes.find_shapes import Found, find_shapes


def filmed(name: str, count: int) -> Iterator[Film]:
    for i in range(count):
        yield FAMILIES[name][0](random.Random(f"{name}/{i}"), "held_out", 70)


def ends(film: Film) -> dict[str, tuple[Found, Found]]:
    """Each shape in the first and in the last frame."""
    first, last = ({s.kind: s for s in find_shapes(film.frames[i])} for i in (0, -1))
    assert first.keys() == last.keys()
    return {kind: (first[kind], last[kind]) for kind in first}


def way(first: Found, last: Found) -> str:
    dx, dy = last.x - first.x, last.y - first.y
    if max(abs(dx), abs(dy)) < 1:
        return STILL
    assert min(abs(dx), abs(dy)) < 0.1 * max(abs(dx), abs(dy))
    if abs(dx) > abs(dy):
        return "right" if dx > 0 else "left"
    return "down" if dy > 0 else "up"


@pytest.mark.parametrize("name", list(FAMILIES))
def test_the_same_seed_gives_the_same_film(name: str) -> None:
    one, two = (FAMILIES[name][0](random.Random(5), "train", 70) for _ in range(2))
    assert [f.tobytes() for f in one.frames] == [f.tobytes() for f in two.frames]
    assert (one.question, one.answer, one.seconds_per_frame) == (
        two.question,
        two.answer,
        two.seconds_per_frame,
    )


def test_a_film_has_three_to_five_frames_of_one_size() -> None:
    for seed in range(30):
        film = draw(random.Random(seed), "train", 9)
        assert 3 <= len(film.frames) <= 5
        assert {f.size for f in film.frames} == {(144, 144)}
        assert film.seconds_per_frame > 0


def test_the_shape_moves_as_the_answer_says() -> None:
    answers = set()
    for film in filmed("direction", 60):
        shapes = ends(film)
        asked = re.findall("|".join(KINDS), film.question.lower()) or list(shapes)
        assert way(*shapes[asked[0]]) == film.answer
        answers.add(film.answer)
    assert answers == {"left", "right", "up", "down", STILL}


def test_a_moving_shape_goes_far_enough_to_be_seen() -> None:
    for film in filmed("mover", 20):
        first, last = ends(film)[film.answer]
        assert abs(last.x - first.x) + abs(last.y - first.y) > 0.25 * min(film.frames[0].size)


def test_every_step_is_seen() -> None:
    for film in filmed("direction", 20):
        if film.answer != STILL:
            assert len({f.tobytes() for f in film.frames}) == len(film.frames)


def test_only_the_shape_in_the_answer_moves() -> None:
    for film in filmed("mover", 30):
        assert [kind for kind, pair in ends(film).items() if way(*pair) != STILL] == [film.answer]


def test_a_shape_grows_or_shrinks_as_the_answer_says() -> None:
    for film in filmed("growth", 20):
        ((first, last),) = ends(film).values()
        assert ("it grows" if last.width > first.width else "it shrinks") == film.answer
        assert abs(last.x - first.x) <= 1


def test_a_sheet_shows_every_family(tmp_path) -> None:
    moving.preview(str(tmp_path / "sheet.png"), each=1)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 2 * 708
