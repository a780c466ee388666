"""What pictures and films are drawn with: canvases that fill a budget of soft tokens, shapes, colours."""

import math
import random
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from textwrap import wrap

from PIL import Image, ImageDraw, ImageFont

from gemcut.errors import BadTraining
from gemcut.media.image import fitted_size

PATCH, POOLING = 16, 3
CELL = PATCH * POOLING  # pixels of a soft token's side
Rgb = tuple[int, int, int]
PALETTE: dict[str, Rgb] = {
    "red": (222, 38, 38),
    "green": (42, 160, 62),
    "blue": (40, 78, 222),
    "yellow": (246, 218, 40),
    "orange": (244, 138, 28),
    "purple": (138, 56, 186),
    "pink": (252, 146, 196),
    "brown": (124, 74, 36),
    "black": (14, 14, 14),
    "white": (246, 246, 246),
    "gray": (142, 142, 142),
}
COLORS = tuple(PALETTE)
KINDS = ("circle", "square", "triangle", "star", "cross", "diamond")
GROUND = "ground"
INNER = 0.7  # share of a shape's size that is marked: there most kinds have their colour
JITTER = 9  # of each colour channel
CONTRAST = 135  # the least distance of two colours that lie on each other, as Euclid measures
LARGEST = 2.25 * CELL  # side of a shape: the middle of a large one is hard to tell from what is around it
CLEAR, TRIES = 15, 8  # pixels from the middle of a soft token, and how often such a place is tried
SMOOTH = 4  # times finer is a shape drawn, for soft edges
FONT_FOLDERS = (
    "/usr/share/fonts/truetype/dejavu",  # Debian, Ubuntu
    "/usr/share/fonts/dejavu",
    "/usr/share/fonts/TTF",  # Arch
    "/usr/local/share/fonts/dejavu",
)
FONTS = ("Sans", "SansMono", "SansMono-Bold")


@dataclass(frozen=True, eq=False)
class Picture:
    """An RGB image, a question about it, and the answer that is right.

    marks: what is where, for a trainer that teaches the vision tower before the model asks it.
    more: other questions about it, with their answers, which training asks afterwards.
    """

    image: Image.Image
    question: str
    answer: str
    marks: tuple["Mark", ...] = ()
    more: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Mark:
    """Where something is: its middle, its width and height, in pixels.

    name: a letter, a digit, a shape ('red circle'), or what is behind all shapes ('pink ground').
    value: of the bar that a chart's letter names.
    """

    name: str
    x: float
    y: float
    width: float
    height: float
    value: int | None = None


@dataclass(frozen=True)
class Shape:
    """A shape on a canvas.

    x, y: the middle.  size: the side of the square that holds it, in pixels, as x and y are.
    """

    kind: str
    color: str
    x: float
    y: float
    size: float

    @property
    def name(self) -> str:
        """Such as 'red circle'."""
        return f"{self.color} {self.kind}"


@cache
def grids(soft_tokens: int, widest: float = 2.0) -> tuple[tuple[int, int], ...]:
    """Rows and columns of the canvases that a budget of so many soft tokens leaves unscaled.

    An image is scaled, up or down, until it fills its budget; these fill it already, to 85 % and more.
    widest: the longer side by the shorter one, at most.  Fewer than 70 tokens is no budget of the models:
    such canvases are cheap to train on where the trainer cuts their patches without scaling.
    Raises BadTraining where no canvas is that small.
    """
    found = []
    for rows in range(1, soft_tokens + 1):
        for columns in range(1, soft_tokens // rows + 1):
            size = rows * CELL, columns * CELL
            whole = rows * columns >= 0.85 * soft_tokens and max(rows, columns) <= widest * min(rows, columns)
            if whole and fitted_size(*size, soft_tokens, PATCH, POOLING) == size:
                found.append((rows, columns))
    if not found:
        raise BadTraining(
            f"no canvas of {soft_tokens} soft tokens is at most {widest:g} times as long as high"
        )
    return tuple(found)


def canvas_size(rng: random.Random, soft_tokens: int, widest: float = 1.5) -> tuple[int, int]:
    """Width and height of a canvas for this budget, in pixels; see `grids`."""
    rows, columns = rng.choice(grids(soft_tokens, widest))
    return columns * CELL, rows * CELL


def tint(rng: random.Random, color: str) -> Rgb:
    """The colour, a little off."""
    red, green, blue = (min(255, max(0, c + rng.randint(-JITTER, JITTER))) for c in PALETTE[color])
    return red, green, blue


def plural(kind: str) -> str:
    """Several of a kind: 'stars', 'crosses'."""
    return kind + ("es" if kind.endswith("s") else "s")


def apart(one: str, other: str) -> bool:
    """Whether the two colours can lie on each other and both be seen."""
    return math.dist(PALETTE[one], PALETTE[other]) >= CONTRAST


def colors_on(ground: str) -> tuple[str, ...]:
    """The colours that can be seen on this one."""
    return tuple(color for color in COLORS if apart(color, ground))


def draw_ground(rng: random.Random) -> str:
    """A background's colour: white in every third picture, often black or gray, else any."""
    roll = rng.random()
    return "white" if roll < 0.35 else rng.choice(("black", "gray") if roll < 0.55 else COLORS)


def _corners(kind: str) -> list[tuple[float, float]]:
    """The polygon of a kind within the square from -0.5 to 0.5, y downwards."""
    if kind == "square":
        return [(-0.43, -0.43), (0.43, -0.43), (0.43, 0.43), (-0.43, 0.43)]
    if kind == "triangle":
        return [(0, -0.45), (0.5, 0.42), (-0.5, 0.42)]
    if kind == "diamond":
        return [(0, -0.5), (0.36, 0), (0, 0.5), (-0.36, 0)]
    if kind == "cross":
        a, b = 0.15, 0.48
        half = [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a)]
        return half + [(-x, -y) for x, y in half]
    turns = [math.pi * i / 5 for i in range(10)]  # a star: five points, and the corners between them
    return [(r * math.sin(t), -r * math.cos(t)) for t, r in zip(turns, (0.52, 0.22) * 5, strict=True)]


@cache
def shape_mask(kind: str, size: int) -> Image.Image:
    """The shape in white on black, with soft edges, (size, size) pixels."""
    fine = size * SMOOTH
    mask = Image.new("L", (fine, fine))
    pen = ImageDraw.Draw(mask)
    if kind == "circle":
        margin = 0.02 * fine
        pen.ellipse((margin, margin, fine - margin, fine - margin), fill=255)
    else:
        pen.polygon([((x + 0.5) * fine, (y + 0.5) * fine) for x, y in _corners(kind)], fill=255)
    return mask.reduce(SMOOTH)


def paint(image: Image.Image, shape: Shape, color: Rgb) -> None:
    """Draws the shape on the image; whole pixels."""
    size = round(shape.size)
    corner = round(shape.x - size / 2), round(shape.y - size / 2)
    image.paste(color, corner, shape_mask(shape.kind, size))


def paint_all(rng: random.Random, size: tuple[int, int], ground: str, shapes: list[Shape]) -> Image.Image:
    """The shapes on a background, each in its own tint of its colour."""
    image = Image.new("RGB", size, tint(rng, ground))
    for shape in shapes:
        paint(image, shape, tint(rng, shape.color))
    return image


def mark_all(size: tuple[int, int], ground: str, shapes: list[Shape]) -> tuple[Mark, ...]:
    """The marks of a canvas with shapes on it: the ground first."""
    width, height = size
    whole = Mark(f"{ground} {GROUND}", width / 2, height / 2, width, height)
    return (whole, *(Mark(s.name, s.x, s.y, INNER * s.size, INNER * s.size) for s in shapes))


def slots(rng: random.Random, size: tuple[int, int], count: int) -> list[tuple[float, float, float]]:
    """So many places that do not touch: the middle's x and y, and the size of the shape that goes there."""
    width, height = size
    rows = max(1, round(math.sqrt(count * height / width)))
    columns = max(2, math.ceil(count / rows))
    across, down = width / columns, height / rows
    places = rng.sample([(row, column) for row in range(rows) for column in range(columns)], count)
    found = []
    for row, column in places:
        side = min(min(across, down, max(size) / 2) * rng.uniform(0.55, 0.85), LARGEST)
        free = (across - side) / 2 * 0.85, (down - side) / 2 * 0.85
        x = clear_place(rng, (column + 0.5) * across, free[0])
        y = clear_place(rng, (row + 0.5) * down, free[1])
        found.append((x, y, side))
    return found


def clear_place(rng: random.Random, middle: float, most: float) -> float:
    """A place at most so far from `middle`, and where that can be well within a soft token.

    On an edge a shape may seem to be in two of them.
    """
    for _ in range(TRIES):
        at = middle + rng.uniform(-most, most)
        if abs(at % CELL - CELL / 2) < CLEAR:
            break
    return at


@cache
def font_file(name: str) -> Path:
    """The file of a DejaVu font, such as 'Sans-Bold'.  Raises BadTraining where it is not installed."""
    for folder in FONT_FOLDERS:
        if (file := Path(folder) / f"DejaVu{name}.ttf").exists():
            return file
    raise BadTraining(
        f"DejaVu{name}.ttf is in none of {', '.join(FONT_FOLDERS)}; install it with: "
        "apt install fonts-dejavu-core"
    )


@lru_cache(256)  # each may hold its file open
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """The font at this size: pixels of an em, about those from the top of an h to the foot of a g."""
    return ImageFont.truetype(font_file(name), size, layout_engine=ImageFont.Layout.BASIC)


def contact_sheet(rows: list[tuple[list[Image.Image], str]], columns: int, wide: int) -> Image.Image:
    """Pictures (or the frames of films) with a caption under each, for a person to look at.

    wide: pixels that each row of images is scaled down to, at most.
    """
    tiles = []
    for images, caption in rows:
        across = sum(i.width + 4 for i in images)
        scale = min(1, wide / across)
        lines = [part for line in caption.splitlines() for part in wrap(line, wide // 7)]
        high = round(max(i.height for i in images) * scale)
        tile = Image.new("RGB", (wide, high + 6 + 17 * len(lines)), (200, 220, 240))
        left = 0
        for image in images:
            small = image.resize((max(1, int(image.width * scale)), max(1, int(image.height * scale))))
            tile.paste(small, (left, 0))
            left += small.width + 3
        ImageDraw.Draw(tile).text((4, high + 3), "\n".join(lines), (0, 0, 0), font("Sans", 13))
        tiles.append(tile)
    strips = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    tops = [0]
    for strip in strips:
        tops.append(tops[-1] + max(t.height for t in strip) + 8)
    sheet = Image.new("RGB", (columns * (wide + 8), tops[-1]), (255, 255, 255))
    for strip, (top, _) in zip(strips, pairwise(tops), strict=True):
        for i, tile in enumerate(strip):
            sheet.paste(tile, (i * (wide + 8), top))
    return sheet
