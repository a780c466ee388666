"""How reading falls with an image's budget of soft tokens: the same pictures of words, read with each budget.

`python -m recipes.nano.budgets docs/reading_by_budget.png` measures nano and draws the chart.
"""

import argparse
import sys
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from gemcut.api import Gemma, Reply
from gemcut.engine.sampling_params import SamplingParams
from gemcut.evals.task import Case, run_task
from gemcut.media.image import BUDGETS
from recipes.nano.drawing import font
from recipes.nano.senses_cases import PAGE, picture_case, reading, reading_pictures

WIDTH, HEIGHT = 900, 520
LEFT, RIGHT, TOP, FOOT = 90, 40, 70, 80  # margins in pixels
INK, GRID, LINE = (40, 40, 40), (222, 222, 222), (28, 92, 196)
ANSWER_TOKENS = 40


def read_at(gemma: Gemma, cases: int, budget: int) -> float:
    """The share of words that nano reads in the held-out pictures, scaled to this budget."""
    greedy = SamplingParams(temperature=0, max_tokens=ANSWER_TOKENS)

    def answer(case: Case) -> Reply:
        return gemma.reply(list(case.messages), sampling=greedy)

    listed = tuple(picture_case(picture, budget) for picture in reading_pictures(cases))
    return run_task(answer, reading(listed)).score


def draw_chart(shares: dict[int, float]) -> Image.Image:
    """A line over the budgets, each twice the one before."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(image)
    step = (WIDTH - LEFT - RIGHT) / len(shares)
    high = HEIGHT - TOP - FOOT
    pen.text((LEFT, 20), f"Words that nano reads in pictures of {PAGE} tokens", INK, font("Sans-Bold", 22))
    for percent in range(0, 101, 20):
        y = TOP + high * (1 - percent / 100)
        pen.line((LEFT, y, WIDTH - RIGHT, y), GRID, 1)
        pen.text((LEFT - 12, y), f"{percent} %", INK, font("Sans", 18), anchor="rm")
    points = [(LEFT + (i + 0.5) * step, TOP + high * (1 - share)) for i, share in enumerate(shares.values())]
    pen.line(points, LINE, 4, joint="curve")
    for (x, y), (budget, share) in zip(points, shares.items(), strict=True):
        pen.ellipse((x - 7, y - 7, x + 7, y + 7), LINE)
        above = y > TOP + 40
        pen.text(
            (x, y - 16 if above else y + 16),
            f"{share:.0%}",
            INK,
            font("Sans-Bold", 18),
            anchor="ms" if above else "mt",
        )
        pen.text((x, HEIGHT - FOOT + 14), str(budget), INK, font("Sans", 18), anchor="mt")
    pen.text(
        (WIDTH / 2, HEIGHT - 16), "soft tokens that the image may take", INK, font("Sans", 18), anchor="ms"
    )
    return image


def main() -> None:
    """Measures, prints and draws."""
    parser = argparse.ArgumentParser(prog="python -m recipes.nano.budgets", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--cases", type=int, default=200)
    args = parser.parse_args()
    gemma = Gemma.load(args.model)
    torch.set_num_threads(2)
    shares = {}
    for budget in BUDGETS:
        shares[budget] = read_at(gemma, args.cases, budget)
        print(f"{budget:5d} tokens  {shares[budget]:.1%}", file=sys.stderr, flush=True)
    draw_chart(shares).save(args.out)


if __name__ == "__main__":
    main()
