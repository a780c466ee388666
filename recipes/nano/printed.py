"""Pictures to read: printed words and numbers, and bar charts.

Words are of the lexicon's split, so that those of held-out pictures never occur in training.
"""

import math
import random
from collections.abc import Callable, Iterator

from PIL import Image, ImageDraw, ImageFont

from gemcut.errors import BadTraining
from recipes.nano.drawing import (
    CELL,
    COLORS,
    FONTS,
    PALETTE,
    Mark,
    Picture,
    Rgb,
    canvas_size,
    colors_on,
    font,
    grids,
    tint,
)
from recipes.nano.example import Split
from recipes.nano.lexicon import Lexicon
from recipes.nano.wordings import Wordings

SMALLEST, LARGEST = 24, 40  # pixels of a font's em on a canvas of 70 soft tokens; more on larger ones
ON_A_STRIP = 40  # the smallest em there: most training is on strips, and most reading is of larger letters
TRIES = 1000
BUDGET = 70
LINE = 1.3  # a line's height in ems
HEIGHT = 0.7  # of a letter's mark, in ems
MIDDLE = 0.66  # ems from a line's top to the middle of an x
MARGIN = 8
WIDEST = 8.0  # columns by rows: text may stand on a long strip
LEGIBLE = 70  # the least difference of luminance of letters and what is behind them
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
HIGHEST = Wordings(
    (
        "Which bar is the highest?",
        "What is the highest bar?",
        "Which bar is highest?",
        "Which one has the highest value?",
        "Name the highest bar.",
        "Which bar has the greatest value?",
    ),
    ("Can you tell me which bar is the highest?", "Which bar reaches the highest?", "Find the highest bar."),
)
LOWEST = Wordings(
    (
        "Which bar is the lowest?",
        "What is the lowest bar?",
        "Which bar is lowest?",
        "Which one has the lowest value?",
        "Name the lowest bar.",
        "Which bar has the smallest value?",
    ),
    ("Can you tell me which bar is the lowest?", "Which bar reaches the least?", "Find the lowest bar."),
)
LETTERS = "ABCDEFGH"
LEAST_EM = 24  # of a chart's letters
TOP = 10  # the value at the upper end of a chart's axis


def luminance(color: str) -> float:
    """How bright the colour looks, 0 to 255."""
    red, green, blue = PALETTE[color]
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _ink_and_paper(rng: random.Random) -> tuple[Rgb, Rgb]:
    """Colours of the letters and what is behind them: mostly dark on light, always far apart."""
    roll = rng.random()
    if roll < 0.4:
        ink, paper = "black", "white"
    elif roll < 0.55:
        ink, paper = "white", "black"
    else:
        paper = rng.choice(("white", "white", "black", "yellow", "blue", rng.choice(COLORS)))
        bright = luminance(paper)
        ink = rng.choice([c for c in colors_on(paper) if abs(luminance(c) - bright) > LEGIBLE])
    return tint(rng, ink), tint(rng, paper)


def strip_size(rng: random.Random, soft_tokens: int) -> tuple[int, int]:
    """Width and height of a canvas for text, in pixels: wide, and two cells high where it can be."""
    wide = [grid for grid in grids(soft_tokens, WIDEST) if grid[0] <= grid[1]]
    rows, columns = rng.choice([grid for grid in wide if grid[0] > 1] or wide)
    return columns * CELL, rows * CELL


def _size_range(soft_tokens: int) -> tuple[int, int]:
    """The smallest and largest em: as large in relation to the canvas for each budget.

    Canvases below the smallest budget are pieces of a larger one: all sizes occur.
    """
    if soft_tokens < BUDGET:
        return ON_A_STRIP, 2 * LARGEST
    scale = math.sqrt(soft_tokens / BUDGET)
    return round(SMALLEST * scale), round(LARGEST * scale)


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
    width, height = canvas_size(rng, soft_tokens) if soft_tokens >= BUDGET else strip_size(rng, soft_tokens)
    low, high = _size_range(soft_tokens)
    high = min(high, (height - MARGIN) / LINE)
    for _ in range(TRIES):
        size = round(math.exp(rng.uniform(math.log(low), math.log(high))))
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
    """One to three printed words; some with a capital, some all in capitals."""
    lexicon = Lexicon(rng, split)

    def say() -> list[str]:
        found = lexicon.words(rng.choice((1, 1, 2, 2, 3)))
        roll = rng.random()
        if roll < 0.1:
            return [word.upper() for word in found]
        return [word.capitalize() for word in found] if roll < 0.25 else found

    return _print(rng, soft_tokens, READ.ask(rng, split), say)


def numbers(rng: random.Random, split: Split, soft_tokens: int) -> Picture:
    """A printed number of one to five digits."""
    lexicon = Lexicon(rng, split)
    question = (NUMBER if rng.random() < 0.7 else READ).ask(rng, split)
    return _print(rng, soft_tokens, question, lambda: [str(lexicon.number(0, 99_999))])


def draw_chart(rng: random.Random, size: tuple[int, int], bars: dict[str, int]) -> Image.Image:
    """The bars over their letters, with an axis of values at the left."""
    width, height = size
    dark = rng.random() < 0.2
    ink, paper = tint(rng, "white" if dark else "black"), tint(rng, "black" if dark else "white")
    image = Image.new("RGB", size, paper)
    pen = ImageDraw.Draw(image)
    em = round(max(LEAST_EM, min(size) / 14))
    letters = font(rng.choice(("Sans", "Sans-Bold", "Serif", "SansMono-Bold")), em)
    left, right, top, foot = 2 * em, width - 8, em, height - round(1.7 * em)
    unit = (foot - top) / TOP
    for value in range(0, TOP + 1, rng.choice((1, 2)) if unit >= em else 2):
        y = round(foot - value * unit)
        pen.line((left, y, right, y), tint(rng, "gray"), 1)
        if value % 2 == 0:
            pen.text((left - 6, y), str(value), ink, letters, anchor="rm")
    step = (right - left) / len(bars)
    seen = [c for c in colors_on("black" if dark else "white") if c != "gray"]
    colors = rng.sample(seen, len(bars)) if rng.random() < 0.6 else [rng.choice(seen)] * len(bars)
    wide = step * rng.uniform(0.45, 0.75)
    for i, ((name, value), color) in enumerate(zip(bars.items(), colors, strict=True)):
        middle = left + (i + 0.5) * step
        if value:
            pen.rectangle(
                (round(middle - wide / 2), round(foot - value * unit), round(middle + wide / 2), foot),
                tint(rng, color),
            )
        pen.text((middle, foot + 6), name, ink, letters, anchor="ma")
    pen.line((left, top, left, foot), ink, 3)
    pen.line((left, foot, right, foot), ink, 3)
    return image


def bar_chart(rng: random.Random, split: Split, soft_tokens: int) -> Picture:
    """A bar's value, from 0 to 10, or which bar is the highest or the lowest."""
    size = canvas_size(rng, soft_tokens, 1.6)
    first = rng.randrange(len(LETTERS) - 4)
    names = LETTERS[first : first + rng.randint(3, 5)]
    values = rng.sample(range(1, TOP + 1), len(names))  # different ones: one is the highest
    bars = dict(zip(names, values, strict=True))
    image = draw_chart(rng, size, bars)
    roll = rng.random()
    if roll < 0.6:
        name = rng.choice(names)
        return Picture(image, VALUE.ask(rng, split, bar=name), str(bars[name]))
    extreme, wordings = (max, HIGHEST) if roll < 0.8 else (min, LOWEST)
    return Picture(image, wordings.ask(rng, split), extreme(bars, key=bars.__getitem__))
