"""Short films of moving shapes with a question and its answer.

`python -m recipes.nano.moving OUT.png` draws a sheet of them to look at.
"""

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from recipes.nano.drawing import (
    KINDS,
    LARGEST,
    Mark,
    Shape,
    canvas_size,
    colors_on,
    contact_sheet,
    draw_ground,
    mark_all,
    paint,
    tint,
)
from recipes.nano.example import Split
from recipes.nano.wordings import Wordings

STEPS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
STILL = "it stands still"
FEWEST, MOST = 3, 5  # frames
SOFT_TOKENS = 70  # of each frame: the least that the vision input takes
SQUARE = 1.3  # frames are nearly square: all directions have room
DIRECTION = Wordings(
    (
        "Which way does the {what} move?",
        "In which direction does the {what} move?",
        "Where does the {what} go?",
        "Which direction does the {what} move in?",
        "Does the {what} move left, right, up or down?",
        "Tell me which way the {what} moves.",
        "Where is the {what} moving?",
        "The {what} moves which way?",
        "Which way is the {what} going?",
        "What is the direction of the {what}?",
    ),
    (
        "Can you tell me which way the {what} moves?",
        "In what direction is the {what} travelling?",
        "To which side does the {what} move?",
    ),
)
MOVER = Wordings(
    (
        "Which shape moves?",
        "What moves?",
        "Which one moves?",
        "What is moving in this video?",
        "Which shape is moving?",
        "Tell me which shape moves.",
        "Name the shape that moves.",
    ),
    ("Can you tell me what moves?", "Which of the shapes is in motion?", "What is it that moves here?"),
)
SIZE = Wordings(
    (
        "Does the {what} grow or shrink?",
        "Is the {what} growing or shrinking?",
        "Does the {what} get bigger or smaller?",
        "Tell me if the {what} grows or shrinks.",
        "The {what}: does it grow or shrink?",
        "How does the size of the {what} change?",
    ),
    ("Can you tell me whether the {what} grows or shrinks?", "Does the {what} become larger or smaller?"),
)


@dataclass(frozen=True, eq=False)
class Film:
    """RGB frames of one size at a steady pace, a question about them, and the answer that is right.

    marks: of each frame, as those of a picture.
    """

    frames: list[Image.Image]
    seconds_per_frame: float
    marks: list[tuple[Mark, ...]]
    question: str
    answer: str


def _film(
    rng: random.Random, size: tuple[int, int], ground: str, paths: list[list[Shape]]
) -> tuple[list[Image.Image], float, list[tuple[Mark, ...]]]:
    """The frames of shapes on their paths (one shape a frame, all paths as long), their seconds and marks."""
    paper = tint(rng, ground)
    inks = [tint(rng, path[0].color) for path in paths]
    frames = []
    for moment in zip(*paths, strict=True):
        frame = Image.new("RGB", size, paper)
        for shape, ink in zip(moment, inks, strict=True):
            paint(frame, shape, ink)
        frames.append(frame)
    marks = [mark_all(size, ground, list(moment)) for moment in zip(*paths, strict=True)]
    return frames, rng.choice((0.25, 0.5, 1.0)), marks


def _path(
    rng: random.Random, look: tuple[str, str], box: tuple[float, float, float, float], way: str, count: int
) -> list[Shape]:
    """A shape that moves one way within the box of left, top, right and foot; STILL: it stays."""
    left, top, right, foot = box
    side = min(min(right - left, foot - top) * rng.uniform(0.25, 0.4), LARGEST)
    room = right - left - side, foot - top - side
    if way == STILL:
        x, y = left + side / 2 + rng.random() * room[0], top + side / 2 + rng.random() * room[1]
        return [Shape(*look, x, y, side)] * count
    dx, dy = STEPS[way]
    go = rng.uniform(0.65, 1)  # of the room along the way
    start = rng.uniform(0, 1 - go)
    aside = rng.random()
    along = [start + go * i / (count - 1) for i in range(count)]
    if dx + dy < 0:
        along = [1 - at for at in along]
    places = [(at, aside) if dx else (aside, at) for at in along]
    return [
        Shape(*look, left + side / 2 + x * room[0], top + side / 2 + y * room[1], side) for x, y in places
    ]


def _halves(size: tuple[int, int], way: str) -> list[tuple[float, float, float, float]]:
    """Two boxes that do not touch, each long in the direction of the way."""
    width, height = size
    if way in ("left", "right"):
        return [(0, 0, width, height / 2 - 2), (0, height / 2 + 2, width, height)]
    return [(0, 0, width / 2 - 2, height), (width / 2 + 2, 0, width, height)]


def _looks(rng: random.Random, ground: str) -> list[tuple[str, str]]:
    return list(zip(rng.sample(KINDS, 2), rng.sample(colors_on(ground), 2), strict=True))


def direction(rng: random.Random, split: Split, soft_tokens: int) -> Film:
    """The way a shape moves, or that it stands still; in every fifth film another one goes elsewhere."""
    size, ground, count = canvas_size(rng, soft_tokens, SQUARE), draw_ground(rng), rng.randint(FEWEST, MOST)
    looks, way = _looks(rng, ground), rng.choice((*STEPS, STILL))
    if rng.random() < 0.8:
        paths = [_path(rng, looks[0], (0, 0, *size), way, count)]
        what = rng.choice((looks[0][0], "shape", f"{looks[0][1]} {looks[0][0]}"))
    else:
        axis = way if way != STILL else rng.choice(list(STEPS))
        others = [other for other in (*STEPS, STILL) if other != way]
        boxes = rng.sample(_halves(size, axis), 2)
        paths = [
            _path(rng, look, box, which, count)
            for look, box, which in zip(looks, boxes, (way, rng.choice(others)), strict=True)
        ]
        what = looks[0][0]
    return Film(*_film(rng, size, ground, paths), DIRECTION.ask(rng, split, what=what), way)


def mover(rng: random.Random, split: Split, soft_tokens: int) -> Film:
    """Which of two shapes moves; the other one stands still."""
    size, ground, count = canvas_size(rng, soft_tokens, SQUARE), draw_ground(rng), rng.randint(FEWEST, MOST)
    looks, way = _looks(rng, ground), rng.choice(list(STEPS))
    boxes = rng.sample(_halves(size, way), 2)
    paths = [_path(rng, looks[0], boxes[0], way, count), _path(rng, looks[1], boxes[1], STILL, count)]
    return Film(*_film(rng, size, ground, rng.sample(paths, 2)), MOVER.ask(rng, split), looks[0][0])


def growth(rng: random.Random, split: Split, soft_tokens: int) -> Film:
    """Whether a shape grows or shrinks."""
    size, ground, count = canvas_size(rng, soft_tokens, SQUARE), draw_ground(rng), rng.randint(FEWEST, MOST)
    kind, color = _looks(rng, ground)[0]
    large = min(size) * rng.uniform(0.5, 0.9)
    small = large * rng.uniform(0.25, 0.5)
    x, y = (rng.uniform(large / 2, length - large / 2) for length in size)
    path = [Shape(kind, color, x, y, small + (large - small) * i / (count - 1)) for i in range(count)]
    answer = rng.choice(("it grows", "it shrinks"))
    film = _film(rng, size, ground, [path if answer == "it grows" else path[::-1]])
    return Film(*film, SIZE.ask(rng, split, what=rng.choice((kind, "shape"))), answer)


FAMILIES: dict[str, tuple[Callable[[random.Random, Split, int], Film], float]] = {
    "direction": (direction, 0.7),
    "mover": (mover, 0.15),
    "growth": (growth, 0.15),
}


def draw(rng: random.Random, split: Split, soft_tokens: int = SOFT_TOKENS) -> Film:
    """One film of any family.

    soft_tokens: of each frame; fewer than 70 is for a trainer that cuts patches without scaling.
    """
    family, _ = rng.choices(list(FAMILIES.values()), [share for _, share in FAMILIES.values()])[0]
    return family(rng, split, soft_tokens)


def preview(out: str, seed: int = 1, each: int = 6) -> None:
    """Writes a sheet with some films of each family, a row of frames each, half of them held-out ones."""
    rows = []
    for name, (family, _) in FAMILIES.items():
        for i in range(each):
            split: Split = "train" if i < each // 2 else "held_out"
            film = family(random.Random(f"{seed}/{name}/{i}"), split, SOFT_TOKENS)
            rows.append((film.frames, f"{name}: {film.question}\n→ {film.answer}"))
    contact_sheet(rows, 2, 700).save(out)


if __name__ == "__main__":
    preview(sys.argv[1])
