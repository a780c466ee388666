"""An image to the patches that the vision input reads.

Sizes and pixels are those of transformers' PIL processor.
"""

import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from gemcut.errors import BadMedia, BadOption

BUDGETS = (70, 140, 280, 560, 1120)  # soft tokens that an image may take, at most
MOST_PIXELS = 64_000_000  # of an image that is opened: a quarter of a gigabyte
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


@dataclass(frozen=True)
class Patches:
    """An image cut up.

    pixels: (rows · columns, side² · 3) float32 of 0 to 1, row by row, and so each patch, its colours
    last.
    grid: rows and columns.
    """

    pixels: NDArray[np.float32]
    grid: tuple[int, int]


def open_image(data: bytes, name: str) -> Image.Image:
    """An image file's first picture in RGB, turned as its EXIF data says.

    Raises BadMedia for what is no image, is damaged, or has more than MOST_PIXELS; `name` stands in the
    message.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if (pixels := image.width * image.height) > MOST_PIXELS:
                raise BadMedia(
                    f"{name} has {pixels / 1e6:.0f} million pixels, and {MOST_PIXELS / 1e6:.0f} are the "
                    "most; make it smaller (the model sees at most 2.6 million)"
                )
            return as_rgb(image)
    except BadMedia:
        raise
    except UnidentifiedImageError:
        raise BadMedia(f"{name} is no image that can be read; give one of {', '.join(FORMATS)}") from None
    except Exception as problem:  # the decoders raise whatever they meet
        reason = " ".join(str(problem).split()) or type(problem).__name__
        raise BadMedia(f"{name} is damaged ({reason}); give a whole file") from None


def as_rgb(image: Image.Image) -> Image.Image:
    """The picture in RGB, turned as its EXIF data says; 16 bits a value become 8."""
    turned = ImageOps.exif_transpose(image)
    if turned.mode.startswith("I"):
        wide = np.asarray(turned).astype(np.int64)
        turned = Image.fromarray((wide.clip(0, 65_535) >> 8).astype(np.uint8))
    return turned.convert("RGB")


def fitted_size(height: int, width: int, budget: int, patch: int, pooling: int) -> tuple[int, int]:
    """Height and width to which an image is scaled: its shape, within `budget`, whole soft tokens.

    patch: pixels of a patch's side.  pooling: patches of a soft token's side.
    """
    side = patch * pooling
    scale = math.sqrt(budget * side**2 / (height * width))
    rows, columns = math.floor(scale * height / side), math.floor(scale * width / side)
    if rows == 0:
        rows, columns = 1, min(width // height, budget)
    elif columns == 0:
        rows, columns = min(height // width, budget), 1
    return rows * side, columns * side


def to_patches(image: Image.Image, budget: int, patch: int, pooling: int) -> Patches:
    """An RGB image scaled into its budget and cut into patches of `patch` pixels a side.

    Raises BadOption for a budget that the models do not know.
    """
    if budget not in BUDGETS:
        raise BadOption(f"an image takes one of {', '.join(map(str, BUDGETS))} tokens, not {budget}")
    height, width = fitted_size(image.height, image.width, budget, patch, pooling)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    rows, columns = height // patch, width // patch
    values = np.asarray(image, dtype=np.uint8).reshape(rows, patch, columns, patch, 3).swapaxes(1, 2)
    scaled = (values.astype(np.float64) * (1 / 255)).astype(np.float32)
    return Patches(scaled.reshape(rows * columns, -1), (rows, columns))


def read_file(path: Path) -> bytes:
    """A media file's bytes.  Raises BadMedia where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as problem:
        raise BadMedia(f"{path} cannot be read: {problem.strerror}; give a file that is there") from None
