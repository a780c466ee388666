"""Pictures for nano: the same for a seed, with answers that the pixels show; what is held out is unseen."""

import random
import re
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from gemcut.errors import BadTraining
from gemcut.media.image import fitted_size
from recipes.nano import drawing, moving, pictures, printed, speech
from recipes.nano.drawing import COLORS, KINDS, Picture, grids
from recipes.nano.facts import plain
from recipes.nano.lexicon import in_split
from recipes.nano.pictures import FAMILIES, PLACES
from recipes.nano.wordings import Wordings
from tests.recipes.find_shapes import Found, color_name, find_shapes, ground_color

BY_NAME = pytest.mark.parametrize("name", list(FAMILIES))


def drawn(name: str, count: int, soft_tokens: int = 70) -> Iterator[Picture]:
    """Held-out pictures: their questions have no slips of the keyboard."""
    for i in range(count):
        yield FAMILIES[name].draw(random.Random(f"{name}/{i}"), "held_out", soft_tokens)


def named(question: str) -> tuple[list[str], list[str]]:
    """The kinds and colours that a question names, in its order."""
    kinds = re.findall("|".join(KINDS), question.lower())
    return kinds, re.findall(r"\b(?:" + "|".join(COLORS) + r")\b", question.lower())


def matching(shapes: list[Found], kinds: list[str], colors: list[str]) -> list[Found]:
    return [s for s in shapes if (not kinds or s.kind in kinds) and (not colors or s.color in colors)]


@BY_NAME
def test_the_same_seed_gives_the_same_picture(name: str) -> None:
    for split in ("train", "held_out"):
        one, two = (FAMILIES[name].draw(random.Random(5), split, 70) for _ in range(2))
        other = FAMILIES[name].draw(random.Random(6), split, 70)
        assert one.image.tobytes() == two.image.tobytes()
        assert (one.question, one.answer) == (two.question, two.answer)
        assert one.image.tobytes() != other.image.tobytes()


@BY_NAME
@pytest.mark.parametrize("soft_tokens", [16, 70, 140, 280])
def test_a_picture_fills_its_budget_without_scaling(name: str, soft_tokens: int) -> None:
    if (name, soft_tokens) == ("bar_chart", 16):
        with pytest.raises(BadTraining, match="too small for a chart"):
            next(drawn(name, 1, soft_tokens))
        return
    for picture in drawn(name, 3, soft_tokens):
        width, height = picture.image.size
        assert fitted_size(height, width, soft_tokens, 16, 3) == (height, width)
        assert 0.85 * soft_tokens <= width * height / 48**2 <= soft_tokens


def test_a_color_is_that_of_the_shape_asked_for() -> None:
    for picture in drawn("color", 40):
        kinds, _ = named(picture.question)
        assert [s.color for s in matching(find_shapes(picture.image), kinds, [])] == [picture.answer]


def test_a_kind_is_that_of_the_shape_with_the_color() -> None:
    for picture in drawn("kind", 40):
        _, colors = named(picture.question)
        assert [s.kind for s in matching(find_shapes(picture.image), [], colors)] == [picture.answer]


def test_the_background_is_what_lies_behind() -> None:
    assert all(color_name(ground_color(p.image)) == p.answer for p in drawn("ground", 40))


def test_as_many_shapes_are_drawn_as_the_answer_says() -> None:
    answers = set()
    for picture in drawn("count", 80):
        counted = matching(find_shapes(picture.image), *named(picture.question))
        assert str(len(counted)) == picture.answer
        answers.add(picture.answer)
    assert answers == set("01234")


def test_a_shape_lies_in_the_ninth_that_the_answer_names() -> None:
    for picture in drawn("place", 60):
        (shape,) = matching(find_shapes(picture.image), *named(picture.question))
        row, column = (
            int(3 * at / length)
            for at, length in zip((shape.y, shape.x), picture.image.size[::-1], strict=True)
        )
        assert PLACES[row][column] == picture.answer


def test_a_neighbor_lies_on_the_side_that_is_asked_for() -> None:
    asked = set()
    for picture in drawn("relation", 80):
        shapes = {s.kind: s for s in find_shapes(picture.image)}
        kinds, _ = named(picture.question)
        here = shapes[kinds[0]]
        if len(kinds) == 2:  # on which side of the second is the first
            there = shapes[kinds[1]]
            sides = {"left": here.x < there.x, "right": here.x > there.x}
            sides |= {"above": here.y < there.y, "below": here.y > there.y}
            assert sides[picture.answer]
        else:
            side = next(s for s in ("left", "right", "above", "below") if s in picture.question.lower())
            beside = {
                "left": lambda s, x=here.x: s.x < x,
                "right": lambda s, x=here.x: s.x > x,
                "above": lambda s, y=here.y: s.y < y,
                "below": lambda s, y=here.y: s.y > y,
            }[side]
            along_x = side in ("left", "right")
            row = [s for s in shapes.values() if s is not here and beside(s)]
            assert [s.kind for s in row if along_x or len(row) == 1] == [picture.answer]
        asked.add((len(kinds), picture.answer if len(kinds) == 2 else side))
    assert len(asked) == 8


def test_bars_are_as_high_as_their_values() -> None:
    """A bar's colour reaches from the foot of the axis up to its value, and its letter stands on it."""
    for picture in drawn("bar_chart", 10):
        pixels = np.asarray(picture.image).astype(int)
        foot = printed.AXIS_TOP + printed.TOP * printed.UNIT
        for mark in picture.marks:
            top = foot - mark.value * printed.UNIT
            column = pixels[: foot - 2, round(mark.x)]
            same = np.flatnonzero((column == column[-1]).all(1))
            assert abs(same[same > mark.y + 10].min() - top) <= 1
            assert top - 10 < mark.y + mark.height / 2 < top


def test_charts_are_asked_about_what_they_show(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, int]] = []
    chart = printed.draw_chart
    monkeypatch.setattr(
        printed, "draw_chart", lambda rng, size, bars: (shown.append(bars), chart(rng, size, bars))[1]
    )
    for picture in drawn("bar_chart", 40):
        bars, question = shown.pop(), picture.question.lower()
        letter = next(
            name for name in bars if re.search(rf"\b{name.lower()}\b", question.removeprefix("can"))
        )
        assert str(bars[letter]) == picture.answer
        assert {mark.name: mark.value for mark in picture.marks} == bars


def test_text_lies_within_the_canvas_and_can_be_seen() -> None:
    for name in ("words", "numbers"):
        for soft_tokens in (6, 70, 280):
            for picture in drawn(name, 12, soft_tokens):
                pixels = np.asarray(picture.image.convert("L")).astype(int)
                edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
                assert edge.min() == edge.max()
                assert np.abs(pixels - edge[0]).max() > 60


def test_marks_lie_on_what_they_name() -> None:
    for picture in drawn("count", 12):
        found = sorted((f"{s.color} {s.kind}", s.x, s.y) for s in find_shapes(picture.image))
        ground, *marks = picture.marks
        assert ground.name == f"{color_name(ground_color(picture.image))} ground"
        places = sorted((mark.name, mark.x, mark.y) for mark in marks)
        for (name, x, y), (found_name, found_x, found_y) in zip(places, found, strict=True):
            assert name == found_name
            assert abs(x - found_x) + abs(y - found_y) < 20  # a triangle's box is not round its middle
    for picture in drawn("words", 12, 280):
        assert "".join(mark.name for mark in picture.marks) == picture.answer.replace(" ", "")
        pixels = np.asarray(picture.image).astype(int)
        ink = np.abs(pixels - ground_color(picture.image)).sum(2) > 60
        for x, y in ((mark.x, mark.y) for mark in picture.marks):  # an o is empty in its middle, so near it
            assert ink[round(y) - 20 : round(y) + 20, round(x) - 20 : round(x) + 20].any()


def test_held_out_words_and_numbers_are_unseen() -> None:
    for name in ("words", "numbers"):
        for split in ("train", "held_out"):
            rng = random.Random(3)
            for _ in range(60):
                for text in FAMILIES[name].draw(rng, split, 70).answer.split():
                    assert len(text) == 1 or in_split(text, split)


@pytest.mark.parametrize("module", [pictures, printed, moving, speech])
def test_held_out_wordings_are_unseen(module: object) -> None:
    found = [value for value in vars(module).values() if isinstance(value, Wordings)]
    trained = {plain(text) for wordings in found for text in wordings.train}
    held_out = {plain(text) for wordings in found for text in wordings.held_out}
    assert found
    assert not trained & held_out


def test_a_full_page_holds_many_words() -> None:
    for seed in range(3):
        picture = printed.full_page(random.Random(seed), "train", 280)
        assert len(picture.answer.split()) >= 10
        assert max(mark.y for mark in picture.marks) < picture.image.height


def test_a_missing_font_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "FONT_FOLDERS", ("/nowhere",))
    drawing.font_file.cache_clear()
    with pytest.raises(BadTraining, match="apt install fonts-dejavu-core"):
        drawing.font_file("Sans")
    drawing.font_file.cache_clear()


def test_a_canvas_that_cannot_be_is_refused() -> None:
    with pytest.raises(BadTraining, match="no canvas of 5 soft tokens"):
        grids(5, 1.2)


def test_a_canvas_too_small_for_words_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printed, "TRIES", 3)
    with pytest.raises(BadTraining, match="too small for a word"):
        FAMILIES["words"].draw(random.Random(1), "held_out", 1)


def test_a_sheet_shows_every_family(tmp_path) -> None:
    pictures.preview(str(tmp_path / "sheet.png"), each=1)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 308


def test_families_share_all_examples() -> None:
    assert sum(family.share for family in FAMILIES.values()) == pytest.approx(1)
    seen = {pictures.draw(random.Random(seed), "train").answer for seed in range(40)}
    assert len(seen) > 20
