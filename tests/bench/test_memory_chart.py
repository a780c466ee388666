"""The picture in docs/ is the one that the code draws."""

from pathlib import Path
from xml.etree import ElementTree

from bench.memory_chart import HEIGHT, LEFT, RIGHT, TOP, WIDTH, curve, draw
from gemcut.family import FAMILIES, family

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "memory_by_context.svg"


def test_the_committed_picture_is_of_these_sizes_and_figures() -> None:
    assert PICTURE.read_text() == draw(), "python -m bench.memory_chart docs/memory_by_context.svg"


def test_it_is_a_picture_with_a_line_for_each_size_and_precision() -> None:
    lines = [one for one in ElementTree.fromstring(draw()) if one.get("fill") == "none"]
    assert len(lines) == 2 * len(FAMILIES)


def test_memory_grows_with_the_context_and_stays_inside() -> None:
    for row in FAMILIES:
        points = curve(row, "bf16")
        assert points == sorted(points, key=lambda point: (point[0], -point[1]))
        assert all(LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT for x, y in points)


def test_31b_needs_less_in_int4_than_in_bf16() -> None:
    row = family("31b")
    for small, large in zip(curve(row, "int4"), curve(row, "bf16"), strict=True):
        assert small[1] > large[1]  # further down
