"""Pictures to read: printed words and numbers, and bar charts.

Words are of the lexicon's split, so that those of held-out pictures never occur in training.
"""

import random
from collections.abc import Callable, Iterator

from PIL import Image, ImageDraw, ImageFont

from gemcut.errors import BadTraining
from recipes.nano.drawing import (
    CELL,
    FONTS,
    Mark,
    Picture,
    Rgb,
    colors_on,
    font,
    grids,
    tint,
)
from recipes.nano.example import Split
from recipes.nano.lexicon import Lexicon
from recipes.nano.wordings import Wordings

SMALLEST, LARGEST = 48, 64  # pixels of a font's em
TRIES = 1000
LINE = 1.3  # a line's height in ems
HEIGHT = 0.7  # of a letter's mark, in ems
MIDDLE = 0.66  # ems from a line's top to the middle of an x
MARGIN = 8
WIDEST = 8.0  # columns by rows: text may stand on a long strip
PAGE = 70  # soft tokens from which on a canvas is a page, no strip
PAPERS = ("white", "white", "white", "yellow", "pink")
FULL = 24  # words on a full page, or fewer where they do not fit
READ = Wordings(
    (
        "What does it say?",
        "Read the text.",
        "What is written here?",
        "Read this.",
        "What text is in the picture?",
        "What does the picture say?",
        "Which words are written here?",
        "Read it to me.",
        "What stands there?",
        "Tell me what is written.",
        "Please read the text.",
        "Copy the text of the image.",
    ),
    (
        "Can you read what is written?",
        "What does the text say?",
        "Please write down the text that you see.",
        "Which text does the image show?",
    ),
)
NUMBER = Wordings(
    (
        "Which number is this?",
        "What number do you see?",
        "Read the number.",
        "Which number is written here?",
        "What is the number?",
        "What number is in the picture?",
        "Tell me the number.",
        "Number?",
    ),
    ("Can you read the number?", "Which number does the picture show?", "Please write down the number."),
)
VALUE = Wordings(
    (
        "What is the value of {bar}?",
        "How high is bar {bar}?",
        "Which value does {bar} have?",
        "Read the value of {bar}.",
        "What value has the bar {bar}?",
        "How much is {bar}?",
        "Tell me the value of bar {bar}.",
        "The value of {bar}?",
    ),
    (
        "Can you tell me the value of {bar}?",
        "How high does the bar {bar} reach?",
        "What does the chart show for {bar}?",
    ),
)
LETTERS = "ABCDEFGH"
TOP = 10  # the value at the upper end of a chart's axis
UNIT = 26  # pixels from a value to the next one
AXIS_LEFT, AXIS_TOP = 48, 56  # of a chart, in pixels
AXIS_EM, NAME_EM = 22, 44  # of a chart's letters: the values at the axis, and the names on bars
GAP = 6  # pixels between a bar and its name
LEAST_ROWS = 7  # of soft tokens, that the axis and the names need


def _ink_and_paper(rng: random.Random) -> tuple[Rgb, Rgb]:
    """Colours of the letters and what is behind them: dark on light."""
    return tint(rng, "black"), tint(rng, rng.choice(PAPERS))


def _text_size(rng: random.Random, soft_tokens: int) -> tuple[int, int]:
    """Width and height of a canvas for text, in pixels: wide, and two cells high where it can be."""
    wide = [grid for grid in grids(soft_tokens, WIDEST if soft_tokens < PAGE else 2.0) if grid[0] <= grid[1]]
    rows, columns = rng.choice([grid for grid in wide if grid[0] > 1] or wide)
    return columns * CELL, rows * CELL


def _lines(
    letters: ImageFont.FreeTypeFont, texts: list[str], room: float, one_each: bool
) -> list[str] | None:
    """The texts in lines at most `room` wide; None where one of them is wider alone."""
    if max(letters.getlength(text) for text in texts) > room:
        return None
    found = [texts[0]]
    for text in texts[1:]:
        longer = f"{found[-1]} {text}"
        if one_each or letters.getlength(longer) > room:
            found.append(text)
        else:
            found[-1] = longer
    return found


def _marks(letters: ImageFont.FreeTypeFont, lines: list[str], left: float, top: float) -> Iterator[Mark]:
    """Each letter with the middle of its place on the line, at half the height of an x."""
    for i, line in enumerate(lines):
        for j, letter in enumerate(line):
            begin, end = letters.getlength(line[:j]), letters.getlength(line[: j + 1])
            y = top + (i * LINE + MIDDLE) * letters.size
            if letter != " ":
                yield Mark(letter, left + (begin + end) / 2, y, end - begin, HEIGHT * letters.size)


def _print(rng: random.Random, soft_tokens: int, question: str, say: Callable[[], list[str]]) -> Picture:
    """An image with what `say` gives printed on it, the answer; says anew until it fits the canvas."""
    width, height = _text_size(rng, soft_tokens)
    for _ in range(TRIES):
        size = rng.randint(SMALLEST, LARGEST)
        letters = font(rng.choice(FONTS), size)
        lines = _lines(letters, say(), width - 2 * MARGIN, rng.random() < 0.3)
        if lines is not None and len(lines) * LINE * size <= height - MARGIN:
            break
    else:
        raise BadTraining(f"a canvas of {soft_tokens} soft tokens is too small for a word; take 4 or more")
    wide = max(letters.getlength(line) for line in lines)
    left = rng.uniform(MARGIN, width - MARGIN - wide)
    top = rng.uniform(0, height - MARGIN - len(lines) * LINE * size)
    ink, paper = _ink_and_paper(rng)
    image = Image.new("RGB", (width, height), paper)
    pen = ImageDraw.Draw(image)
    for i, line in enumerate(lines):
        pen.text((round(left), round(top + i * LINE * size)), line, ink, letters)
    return Picture(image, question, " ".join(lines), tuple(_marks(letters, lines, left, top)))


def words(rng: random.Random, split: Split, soft_tokens: int) -> Picture:
    """One or two printed words."""
    lexicon = Lexicon(rng, split)
    return _print(rng, soft_tokens, READ.ask(rng, split), lambda: lexicon.words(rng.randint(1, 2)))


def full_page(rng: random.Random, split: Split, soft_tokens: int) -> Picture:
    """About as many words as fit, up to FULL: a tower learns more on so much text than on a word or two."""
    lexicon, left = Lexicon(rng, split), FULL + 1

    def say() -> list[str]:
        nonlocal left
        left = max(1, left - 1)
        return lexicon.words(left)

    return _print(rng, soft_tokens, READ.ask(rng, split), say)


def numbers(rng: random.Random, split: Split, soft_tokens: int) -> Picture:
    """A printed number of one to five digits."""
    lexicon = Lexicon(rng, split)
    question = (NUMBER if rng.random() < 0.7 else READ).ask(rng, split)
    return _print(rng, soft_tokens, question, lambda: [str(lexicon.number(0, 99_999))])


def draw_chart(rng: random.Random, size: tuple[int, int], bars: dict[str, int]) -> Image.Image:
    """The bars with their letters on them, and an axis of values at the left."""
    ink, paper = tint(rng, "black"), tint(rng, "white")
    image = Image.new("RGB", size, paper)
    pen = ImageDraw.Draw(image)
    small, large, right = font("Sans", AXIS_EM), font(rng.choice(FONTS), NAME_EM), size[0] - MARGIN
    foot = AXIS_TOP + TOP * UNIT
    for value in range(0, TOP + 1, rng.choice((1, 2))):
        y = foot - value * UNIT
        pen.line((AXIS_LEFT, y, right, y), tint(rng, "gray"), 1)
        if value % 2 == 0:
            pen.text((AXIS_LEFT - 6, y), str(value), ink, small, anchor="rm")
    seen = [c for c in colors_on("white") if c != "gray"]
    colors = rng.sample(seen, len(bars)) if rng.random() < 0.6 else [rng.choice(seen)] * len(bars)
    share = rng.uniform(0.45, 0.75)
    for (name, value), color, (middle, step) in zip(bars.items(), colors, _columns(size, bars), strict=True):
        wide = step * share
        sides = round(middle - wide / 2), round(middle + wide / 2)
        top = foot - value * UNIT
        pen.rectangle((sides[0], top, sides[1], foot), tint(rng, color))
        pen.text((middle, top - GAP), name, ink, large, anchor="ms")
    pen.line((AXIS_LEFT, AXIS_TOP, AXIS_LEFT, foot), ink, 3)
    pen.line((AXIS_LEFT, foot, right, foot), ink, 3)
    return image


def _columns(size: tuple[int, int], bars: dict[str, int]) -> list[tuple[float, float]]:
    """The middle of each bar and the room for it, in pixels."""
    step = (size[0] - MARGIN - AXIS_LEFT) / len(bars)
    return [(AXIS_LEFT + (i + 0.5) * step, step) for i in range(len(bars))]


def _chart_marks(size: tuple[int, int], bars: dict[str, int]) -> Iterator[Mark]:
    """The letter on each bar, with the bar's value."""
    for (name, value), (middle, _) in zip(bars.items(), _columns(size, bars), strict=True):
        high = HEIGHT * NAME_EM
        top = AXIS_TOP + (TOP - value) * UNIT
        yield Mark(name, middle, top - GAP - high / 2, high, high, value)


def bar_chart(rng: random.Random, split: Split, soft_tokens: int) -> Picture:
    """The value of a bar, from 1 to 10."""
    wide = [grid for grid in grids(soft_tokens, 1.6) if LEAST_ROWS <= grid[0] <= grid[1]]
    if not wide:
        raise BadTraining(
            f"a canvas of {soft_tokens} soft tokens is too small for a chart; take {PAGE} or more"
        )
    rows, columns = rng.choice(wide)
    size = columns * CELL, rows * CELL
    first, count = rng.randrange(len(LETTERS) - 3), rng.randint(3, 4)
    bars = {name: rng.randint(1, TOP) for name in LETTERS[first : first + count]}
    image = draw_chart(rng, size, bars)
    turns = [(VALUE.ask(rng, split, bar=name), str(value)) for name, value in bars.items()]
    rng.shuffle(turns)
    return Picture(image, *turns[0], tuple(_chart_marks(size, bars)), tuple(turns[1:]))
