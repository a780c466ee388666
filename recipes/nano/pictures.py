"""Pictures with a question and its answer: shapes, their colours, counts and places; see printed.py for text.

`python -m recipes.nano.pictures OUT.png` draws a sheet of them to look at.
"""

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from recipes.nano.drawing import (
    COLORS,
    KINDS,
    LARGEST,
    Picture,
    Shape,
    canvas_size,
    clear_place,
    colors_on,
    contact_sheet,
    draw_ground,
    mark_all,
    paint_all,
    plural,
    slots,
)
from recipes.nano.example import Split
from recipes.nano.printed import bar_chart, numbers, words
from recipes.nano.wordings import Wordings

PLACES = (
    ("top left", "top", "top right"),
    ("left", "middle", "right"),
    ("bottom left", "bottom", "bottom right"),
)
MOST = 4  # shapes that are counted
MOST_MORE = 4  # questions about a picture behind the first one
COLOR_OF = Wordings(
    (
        "What color is the {kind}?",
        "What colour is the {kind}?",
        "Which color does the {kind} have?",
        "Tell me the color of the {kind}.",
        "The {kind} is of which colour?",
        "Color of the {kind}?",
        "What is the colour of the {kind}?",
        "Say the color of the {kind}.",
    ),
    (
        "Can you tell me the color of the {kind}?",
        "In which colour is the {kind} drawn?",
        "Name the color of the {kind}.",
    ),
)
KIND_OF = Wordings(
    (
        "Which shape is {color}?",
        "What shape is {color}?",
        "What is the {color} shape?",
        "What is {color} here?",
        "Which shape is the {color} one?",
        "Tell me what is {color}.",
        "The {color} shape is a what?",
        "Name the {color} shape.",
        "Which shape has the color {color}?",
        "Which one of them is {color}?",
    ),
    (
        "Can you tell me which shape is {color}?",
        "What kind of shape is the {color} one?",
        "Which of the shapes has the color {color}?",
    ),
)
ONLY_KIND = Wordings(
    (
        "Which shape is this?",
        "What shape is this?",
        "What is drawn here?",
        "What shape do you see?",
        "Which shape is in the picture?",
        "What do you see in this picture?",
        "Name the shape.",
    ),
    ("Can you tell me which shape this is?", "What shape does the picture show?", "Which shape was drawn?"),
)
GROUND = Wordings(
    (
        "What color is the background?",
        "What colour is the background?",
        "Which color does the background have?",
        "Tell me the color of the background.",
        "The background is of which color?",
        "What is the colour behind the shapes?",
        "Which color is behind it all?",
        "Say the color behind the shapes.",
        "Background color?",
        "What is the background's color?",
    ),
    (
        "Can you tell me the color of the background?",
        "In which colour is the background?",
        "Name the color behind everything.",
    ),
)
COUNT = Wordings(
    (
        "How many {what} are there?",
        "How many {what} do you see?",
        "Count the {what}.",
        "How many {what} are in the picture?",
        "What is the number of {what}?",
        "{what}: how many?",
        "Tell me how many {what} there are.",
        "How many {what}?",
    ),
    (
        "Can you count the {what}?",
        "How many {what} does the picture show?",
        "How many {what} can be seen here?",
    ),
)
PLACE = Wordings(
    (
        "Where is the {what}?",
        "Where do you see the {what}?",
        "In which part of the picture is the {what}?",
        "Tell me where the {what} is.",
        "What is the position of the {what}?",
        "The {what} is where?",
        "Where in the picture is the {what}?",
        "Find the {what}.",
    ),
    ("Can you tell me where the {what} is?", "Where does the {what} lie?", "Where can I find the {what}?"),
)
NEIGHBOR = Wordings(
    (
        "Which shape is {side} the {what}?",
        "What is {side} the {what}?",
        "What shape is {side} the {what}?",
        "Tell me what is {side} the {what}.",
        "What do you see {side} the {what}?",
        "Name the shape {side} the {what}.",
    ),
    (
        "Can you tell me which shape is {side} the {what}?",
        "Which shape lies {side} the {what}?",
        "{side} the {what}, what is there?",
    ),
)
SIDE = Wordings(
    (
        "Is the {what} {one} or {other} the {than}?",
        "Is the {what} {other} or {one} the {than}?",
        "The {what}: is it {one} or {other} the {than}?",
        "Tell me: is the {what} {one} or {other} the {than}?",
        "Where is the {what}, {one} or {other} the {than}?",
    ),
    (
        "Can you tell me whether the {what} is {one} or {other} the {than}?",
        "Does the {what} lie {one} or {other} the {than}?",
    ),
)
SIDES = {
    "x": (("left of", "right of"), ("to the left of", "to the right of")),
    "y": (("above", "below"),),
}
SIDE_NAMES = {"x": ("left", "right"), "y": ("above", "below")}


def _different(rng: random.Random, ground: str, count: int) -> list[tuple[str, str]]:
    """Kinds and colours of shapes on this background; no kind and no colour comes twice."""
    return list(zip(rng.sample(KINDS, count), rng.sample(colors_on(ground), count), strict=True))


def _spread(rng: random.Random, size: tuple[int, int], ground: str, count: int) -> list[Shape]:
    """So many shapes that do not touch, all of different kinds and colours; one alone may be large."""
    looks = _different(rng, ground, count)
    if count > 1:
        return [Shape(*look, *place) for look, place in zip(looks, slots(rng, size, count), strict=True)]
    side = min(min(size) * rng.uniform(0.22, 0.75), LARGEST)
    x, y = (clear_place(rng, length / 2, (length - side) / 2 - 4) for length in size)
    return [Shape(*looks[0], x, y, side)]


@dataclass(frozen=True)
class Canvas:
    """Shapes on a background.  size: width and height in pixels."""

    size: tuple[int, int]
    ground: str
    shapes: list[Shape]

    def ask(self, rng: random.Random, turns: list[tuple[str, str]]) -> Picture:
        """The canvas painted, with questions about it and their answers: the first one, then some others."""
        image = paint_all(rng, self.size, self.ground, self.shapes)
        marks = mark_all(self.size, self.ground, self.shapes)
        more = rng.sample(turns[1:], min(len(turns) - 1, rng.randint(1, MOST_MORE)))
        return Picture(image, *turns[0], marks, tuple(more))


def _spread_canvas(rng: random.Random, soft_tokens: int, ground: str, count: int) -> Canvas:
    size = canvas_size(rng, soft_tokens)
    return Canvas(size, ground, _spread(rng, size, ground, count))


def _looks_asked(rng: random.Random, split: Split, canvas: Canvas) -> list[tuple[str, str]]:
    """Questions for colour and kind of each shape, all different, their number, and the background."""
    shapes = canvas.shapes
    asked = [(COLOR_OF.ask(rng, split, kind=shape.kind), shape.color) for shape in shapes]
    asked += [(KIND_OF.ask(rng, split, color=shape.color), shape.kind) for shape in shapes]
    asked += [(COUNT.ask(rng, split, what="shapes"), str(len(shapes)))]
    return [*asked, (GROUND.ask(rng, split), canvas.ground)]


def color(rng: random.Random, split: Split, soft_tokens: int) -> Picture:
    """The colour of a shape, one of up to four."""
    canvas = _spread_canvas(rng, soft_tokens, draw_ground(rng), rng.choice((1, 1, 2, 3, 4)))
    first, turns = canvas.shapes[0], _looks_asked(rng, split, canvas)
    if len(canvas.shapes) == 1 and rng.random() < 0.2:
        turns[0] = COLOR_OF.ask(rng, split, kind="shape"), first.color
    return canvas.ask(rng, turns)


def kind(rng: random.Random, split: Split, soft_tokens: int) -> Picture:
    """The kind of a shape, one of up to four, which its colour names."""
    canvas = _spread_canvas(rng, soft_tokens, draw_ground(rng), rng.choice((1, 1, 2, 3, 4)))
    first = canvas.shapes[0]
    alone = len(canvas.shapes) == 1 and rng.random() < 0.6
    question = (ONLY_KIND if alone else KIND_OF).ask(rng, split, color=first.color)
    return canvas.ask(rng, [(question, first.kind), *_looks_asked(rng, split, canvas)])


def ground(rng: random.Random, split: Split, soft_tokens: int) -> Picture:
    """The background's colour."""
    canvas = _spread_canvas(rng, soft_tokens, rng.choice(COLORS), rng.randint(1, 3))
    turns = _looks_asked(rng, split, canvas)
    return canvas.ask(rng, [turns[-1], *turns[:-1]])


def _looks_to_count(rng: random.Random, ground: str) -> tuple[list[tuple[str, str]], str]:
    """Kinds and colours of shapes, and what some are called: all, those of a kind, of a colour and kind."""
    asked = 0 if rng.random() < 0.06 else rng.randint(1, MOST)
    others = rng.choice((0, 1, 1, 2))
    (one, its), (second, hers) = _different(rng, ground, 2)
    roll = rng.random()
    if roll < 0.25:
        return [(rng.choice((one, second)), rng.choice((its, hers))) for _ in range(max(asked, 1))], "shapes"
    if roll < 0.5:
        looks = [(one, rng.choice((its, hers))) for _ in range(asked)]
        return looks + [(second, rng.choice((its, hers))) for _ in range(others)], plural(one)
    looks = [(one, its)] * asked
    looks += [rng.choice(((one, hers), (second, its), (second, hers))) for _ in range(others)]
    return looks, f"{its} {plural(one)}"


def _described(what: str, shapes: list[Shape]) -> int:
    """How many of the shapes are 'shapes', 'stars' or 'red stars'."""
    names = [("shapes", plural(shape.kind), f"{shape.color} {plural(shape.kind)}") for shape in shapes]
    return sum(what in name for name in names)


def count(rng: random.Random, split: Split, soft_tokens: int) -> Picture:
    """How many shapes, or of one kind, or of one colour and kind, among others that differ in one of them."""
    size, ground = canvas_size(rng, soft_tokens), draw_ground(rng)
    looks, first = _looks_to_count(rng, ground)
    places = slots(rng, size, max(len(looks), 1))
    shapes = [Shape(*look, *place) for look, place in zip(looks, places, strict=False)]
    kinds = {plural(shape.kind) for shape in shapes}
    names = {f"{shape.color} {plural(shape.kind)}" for shape in shapes}
    others = sorted(({"shapes"} if shapes else set()) | kinds | names - {first})
    turns = [(COUNT.ask(rng, split, what=what), str(_described(what, shapes))) for what in (first, *others)]
    return Canvas(size, ground, shapes).ask(rng, [*turns, (GROUND.ask(rng, split), ground)])


def place(rng: random.Random, split: Split, soft_tokens: int) -> Picture:
    """In which ninth of the picture a shape lies."""
    size, ground = canvas_size(rng, soft_tokens), draw_ground(rng)
    chosen = rng.sample([(row, column) for row in range(3) for column in range(3)], rng.choice((1, 1, 2, 3)))
    third = size[0] / 3, size[1] / 3
    shapes, turns = [], []
    for (row, column), look in zip(chosen, _different(rng, ground, len(chosen)), strict=True):
        side = min(third) * rng.uniform(0.5, 0.85)
        x, y = (
            clear_place(rng, (at + 0.5) * length, 0.1 * length)
            for at, length in zip((column, row), third, strict=True)
        )
        shapes.append(Shape(*look, x, y, side))
        what = rng.choice((shapes[-1].kind, shapes[-1].name))
        turns.append((PLACE.ask(rng, split, what=what), PLACES[row][column]))
    canvas = Canvas(size, ground, shapes)
    return canvas.ask(rng, [*turns, *_looks_asked(rng, split, canvas)])


def _in_a_line(rng: random.Random, size: tuple[int, int], ground: str, along: str) -> list[Shape]:
    """Two or three shapes of different looks, from left to right (along x) or from top to bottom."""
    count = rng.choice((2, 2, 3))
    length, across = size if along == "x" else size[::-1]
    step = length / count
    shapes = []
    for i, look in enumerate(_different(rng, ground, count)):
        side = min(min(step, across, length / 2) * rng.uniform(0.5, 0.75), LARGEST)
        free = (step - side) / 2 * 0.8
        here = clear_place(rng, (i + 0.5) * step, free)
        there = clear_place(rng, across / 2, min((across - side) / 2 * 0.9, 0.2 * step))
        shapes.append(Shape(*look, *((here, there) if along == "x" else (there, here)), side))
    return shapes


def relation(rng: random.Random, split: Split, soft_tokens: int) -> Picture:
    """Which shape is beside another, or on which side of it."""
    size, ground, along = canvas_size(rng, soft_tokens), draw_ground(rng), rng.choice(("x", "y"))
    shapes = _in_a_line(rng, size, ground, along)
    turns = []
    for first, second in pairwise(shapes):
        for what, than, side in ((first, second, 0), (second, first, 1)):
            before, after = rng.choice(SIDES[along])
            question = SIDE.ask(rng, split, what=what.kind, than=than.kind, one=before, other=after)
            turns.append((question, SIDE_NAMES[along][side]))
    for i, beside, wanted in ((0, shapes[1], shapes[0]), (1, shapes[-2], shapes[-1])):  # one only lies there
        side = rng.choice(SIDES[along])[i]
        turns.append((NEIGHBOR.ask(rng, split, side=side, what=beside.kind), wanted.kind))
    rng.shuffle(turns)
    return Canvas(size, ground, shapes).ask(rng, turns)


@dataclass(frozen=True)
class Family:
    """One kind of picture.

    soft_tokens: the budget that its canvases fill.  share: of examples, among all families.
    """

    draw: Callable[[random.Random, Split, int], Picture]
    soft_tokens: int
    share: float


FAMILIES: dict[str, Family] = {
    "color": Family(color, 70, 0.12),
    "kind": Family(kind, 70, 0.12),
    "ground": Family(ground, 70, 0.04),
    "count": Family(count, 70, 0.16),
    "place": Family(place, 70, 0.10),
    "relation": Family(relation, 70, 0.12),
    "words": Family(words, 280, 0.18),
    "numbers": Family(numbers, 280, 0.08),
    "bar_chart": Family(bar_chart, 70, 0.08),
}
SHAPE_FAMILIES = ("color", "kind", "ground", "count", "place", "relation")


def draw(rng: random.Random, split: Split) -> Picture:
    """One picture of any family, each at its usual size."""
    family = rng.choices(list(FAMILIES.values()), [f.share for f in FAMILIES.values()])[0]
    return family.draw(rng, split, family.soft_tokens)


def preview(out: str, seed: int = 1, each: int = 6) -> None:
    """Writes a sheet with some pictures of each family, half of them held-out ones."""
    rows = []
    for name, family in FAMILIES.items():
        for i in range(each):
            rng = random.Random(f"{seed}/{name}/{i}")
            picture = family.draw(rng, "train" if i < each // 2 else "held_out", family.soft_tokens)
            rows.append(([picture.image], f"{name}: {picture.question}\n→ {picture.answer}"))
    contact_sheet(rows, each, 300).save(out)


if __name__ == "__main__":
    preview(sys.argv[1])
