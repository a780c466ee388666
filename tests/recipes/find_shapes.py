"""Finds the shapes in a drawn image again, from its pixels alone."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from recipes.nano.drawing import KINDS, PALETTE, shape_mask


@dataclass(frozen=True)
class Found:
    """A shape: what it is, the middle of the box around it, and that box's sides."""

    kind: str
    color: str
    x: float
    y: float
    width: int
    height: int


def color_name(rgb: tuple[int, ...]) -> str:
    return min(PALETTE, key=lambda name: sum((a - b) ** 2 for a, b in zip(PALETTE[name], rgb, strict=True)))


def ground_color(image: Image.Image) -> tuple[int, ...]:
    """The most frequent colour of the image's border."""
    pixels = np.asarray(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    colors, counts = np.unique(border, axis=0, return_counts=True)
    return tuple(int(c) for c in colors[counts.argmax()])


def _kind(body: np.ndarray) -> str:
    """The kind whose mask, cut to its own box and scaled, covers the body best."""
    side = (64, 64)
    ours = np.asarray(Image.fromarray(body).resize(side))

    def overlap(kind: str) -> float:
        whole = shape_mask(kind, 128).point(lambda v: 255 * (v > 127))
        theirs = np.asarray(whole.crop(whole.getbbox()).convert("1").resize(side))
        return float((ours & theirs).sum() / (ours | theirs).sum())

    return max(KINDS, key=overlap)


def find_shapes(image: Image.Image) -> list[Found]:
    """Every shape: each is one exact colour, which no other one has (soft edges are no shapes: too thin)."""
    pixels = np.asarray(image).astype(np.int64)
    codes = pixels @ np.array([1 << 16, 1 << 8, 1])
    red, green, blue = ground_color(image)
    found = []
    values, counts = np.unique(codes, return_counts=True)
    for code, count in zip(values.tolist(), counts.tolist(), strict=True):
        if code == (red << 16) + (green << 8) + blue or count < 60:
            continue
        rows, columns = np.nonzero(codes == code)
        top, foot, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
        if min(foot - top, right - left) < 8 or count < 0.2 * (foot - top) * (right - left):
            continue
        rgb = (code >> 16, code >> 8 & 255, code & 255)
        body = codes[top:foot, left:right] == code
        middle = (left + right) / 2, (top + foot) / 2
        found.append(Found(_kind(body), color_name(rgb), *middle, int(right - left), int(foot - top)))
    return found
