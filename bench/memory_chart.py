"""Memory against context, for every size: `python -m bench.memory_chart docs/memory_by_context.svg`.

As `gemcut fit` counts it on a CPU: the text model's weights, keys and values in bfloat16, and what a process
needs besides; the per-layer table and what sees and hears stay on disk.
"""

import argparse
from collections.abc import Iterator
from math import log2
from pathlib import Path

from gemcut.engine.main_memory import MainMemory
from gemcut.family import FAMILIES, Family
from gemcut.fit.estimate import Place, estimate
from gemcut.fit.weights import Precision

WIDTH, HEIGHT = 860, 560
LEFT, RIGHT, TOP, FOOT = 70, 120, 60, 60  # margins in pixels
LEAST_CONTEXT, MOST_CONTEXT = 1024, 262_144
LEAST_BYTES, MOST_BYTES = 0.25e9, 128e9
LABEL_HEIGHT = 14
CPU = Place(kind="cpu", memory=MainMemory(total_bytes=0, free_bytes=0), rates=None)
LINES: dict[Precision, str] = {"bf16": "", "int4": "6 4"}  # dashes
COLOURS = {
    "nano": "#6b7280",
    "e2b": "#0f766e",
    "e4b": "#15803d",
    "12b": "#b45309",
    "26b": "#7c3aed",
    "31b": "#be123c",
}

Point = tuple[float, float]


def place(tokens: int, num_bytes: float) -> Point:
    """Where that stands in the picture; both axes double at each step."""
    across = log2(tokens / LEAST_CONTEXT) / log2(MOST_CONTEXT / LEAST_CONTEXT)
    up = log2(num_bytes / LEAST_BYTES) / log2(MOST_BYTES / LEAST_BYTES)
    return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - FOOT - up * (HEIGHT - TOP - FOOT)


def curve(row: Family, precision: Precision) -> list[Point]:
    """The points of a size's line, four to each doubling of the context, up to its own."""
    steps = round(4 * log2(row.size.context / LEAST_CONTEXT))
    lengths = [round(LEAST_CONTEXT * 2 ** (step / 4)) for step in range(steps + 1)]
    return [place(tokens, estimate(row, precision, CPU, tokens).memory_bytes) for tokens in lengths]


def draw() -> str:
    """The whole picture."""
    return "\n".join((*_frame(), *_curves(), "</svg>", ""))


def _frame() -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13" fill="#374151">'
    )
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    yield (
        f'<text x="{LEFT}" y="28" font-size="17" font-weight="bold">Memory against context, on a CPU</text>'
    )
    yield f'<text x="{LEFT}" y="47">solid: bf16 weights; dashed: int4; keys and values in bf16</text>'
    for power in range(-2, 8):
        y = place(LEAST_CONTEXT, 2**power * 1e9)[1]
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e5e7eb"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{2**power:g} GB</text>'
    for power in range(10, 19):
        x = place(2**power, LEAST_BYTES)[0]
        yield f'<path d="M{x:.1f} {TOP}V{HEIGHT - FOOT}" stroke="#e5e7eb"/>'
        yield f'<text x="{x:.1f}" y="{HEIGHT - FOOT + 20}" text-anchor="middle">{2 ** (power - 10)}K</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle:.1f}" y="{HEIGHT - 14}" text-anchor="middle">tokens of one conversation</text>'


def _curves() -> Iterator[str]:
    taken: dict[float, float] = {}  # where the label below stands; labels come from below
    ends = [
        (curve(row, precision), row.name, precision, dashes)
        for precision, dashes in LINES.items()
        for row in FAMILIES
    ]
    for points, name, precision, dashes in sorted(ends, key=lambda one: -one[0][-1][1]):
        x, y = points[-1]
        path = "L".join(f"{px:.1f} {py:.1f}" for px, py in points)
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        yield f'<path d="M{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"{dashed}/>'
        if name == "nano" and precision == "bf16":  # both of its lines are the process's own memory
            continue
        label = "nano" if name == "nano" else f"{name} {precision}"
        taken[x] = min(y, taken.get(x, HEIGHT) - LABEL_HEIGHT)
        yield f'<text x="{x + 6:.1f}" y="{taken[x] + 4:.1f}" fill="{COLOURS[name]}">{label}</text>'


def main() -> None:
    """Writes the picture."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory_chart", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.parse_args().out.write_text(draw())


if __name__ == "__main__":
    main()
