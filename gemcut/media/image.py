"""An image to the patches that the vision input reads.

Sizes and pixels are those of transformers' PIL processor.
"""

import io
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from gemcut.errors import BadMedia, BadOption
from gemcut.media.source import OpenUrl, media_bytes, open_url

BUDGETS = (70, 140, 280, 560, 1120)  # soft tokens that an image may take, at most
MOST_PIXELS = 64_000_000  # of an image that is opened: a quarter of a gigabyte
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
OF_BYTE = (np.arange(256) * (1 / 255)).astype(np.float32)  # multiplied in float64, as transformers does


@dataclass(frozen=True)
class Patches:
    """An image cut up.

    pixels: (rows · columns, side² · 3) float32 of 0 to 1, row by row, and so each patch, its colours
    last.
    grid: rows and columns.
    """

    pixels: NDArray[np.float32]
    grid: tuple[int, int]


def load_image(source: object, name: str, open_url: OpenUrl = open_url) -> Image.Image:
    """The picture that `source` is or names, in RGB.

    source: what media_bytes takes, a PIL image, or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of
    uint8, or of floats of 0 to 1.
    Raises BadMedia with `name` in the message.
    """
    match source:
        case Image.Image():
            return _opened(lambda: source, name)
        case np.ndarray():
            return _opened(lambda: _of_array(source, name), name)
    return open_image(media_bytes(source, name, open_url), name)


def open_image(data: bytes, name: str) -> Image.Image:
    """An image file's first picture in RGB, turned as its EXIF data says.

    Raises BadMedia for what is no image, is damaged, or has more than MOST_PIXELS; `name` stands in the
    message.
    """
    return _opened(lambda: Image.open(io.BytesIO(data), formats=FORMATS), name)


def _opened(open_: Callable[[], Image.Image], name: str) -> Image.Image:
    """What `open_` gives, as_rgb.  Its size is checked before its pixels are decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MOST_PIXELS is stricter
            image = open_()
        check_pixels(image.width, image.height, name)
        image.load()  # here, where its faults are caught
        return as_rgb(image)
    except BadMedia:
        raise
    except UnidentifiedImageError:
        raise BadMedia(f"{name} is no image that can be read; give one of {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise BadMedia(
            f"{name} has more than {MOST_PIXELS / 1e6:.0f} million pixels, the most that "
            "is opened; make it smaller"
        ) from None
    except Exception as problem:  # the decoders raise whatever they meet
        reason = " ".join(str(problem).split()) or type(problem).__name__
        raise BadMedia(f"{name} is damaged ({reason}); give a whole file") from None


def check_pixels(width: int, height: int, name: str) -> None:
    """Raises BadMedia for a picture without pixels, or with more than MOST_PIXELS."""
    if width * height == 0:
        raise BadMedia(f"{name} is {width} × {height} pixels; give a picture that has some")
    if width * height > MOST_PIXELS:
        raise BadMedia(
            f"{name} has {width * height / 1e6:.0f} million pixels, and {MOST_PIXELS / 1e6:.0f} are the "
            "most; make it smaller (the model sees at most 2.6 million)"
        )


def _of_array(values: NDArray[Any], name: str) -> Image.Image:
    if not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (1, 3, 4))):
        raise BadMedia(
            f"{name} has the shape {values.shape}; give (height, width), or (height, width, 1, 3 or 4)"
        )
    check_pixels(values.shape[1], values.shape[0], name)
    if np.issubdtype(values.dtype, np.floating):
        if not (values.min() >= 0 and values.max() <= 1):  # false for NaN
            raise BadMedia(
                f"{name} has floats from {values.min():g} to {values.max():g}; scale them to 0 to 1, or "
                "give uint8"
            )
        values = np.rint(values * 255).astype(np.uint8)
    if values.dtype != np.uint8:
        raise BadMedia(f"{name} holds {values.dtype}; give uint8, or floats of 0 to 1")
    return Image.fromarray(values[:, :, 0] if values.shape[2:] == (1,) else values)


def as_rgb(image: Image.Image) -> Image.Image:
    """The picture in RGB, turned as its EXIF data says, on white; 16 bits a value become 8.

    It is the picture itself, not a copy, where there is nothing to do.
    """
    upright = image.getexif().get(ExifTags.Base.Orientation, 1) == 1
    turned = image if upright else ImageOps.exif_transpose(image)
    if turned.mode.startswith("I"):
        wide = np.asarray(turned).astype(np.int64)
        turned = Image.fromarray((wide.clip(0, 65_535) >> 8).astype(np.uint8))
    if turned.has_transparency_data:
        turned = turned.convert("RGBA")
        turned = Image.alpha_composite(Image.new("RGBA", turned.size, "white"), turned)
    return turned if turned.mode == "RGB" else turned.convert("RGB")


def check_budget(budget: int) -> None:
    """Raises BadOption for a budget that the models do not know."""
    if budget not in BUDGETS:
        raise BadOption(f"an image takes one of {', '.join(map(str, BUDGETS))} tokens, not {budget}")


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
    check_budget(budget)
    height, width = fitted_size(image.height, image.width, budget, patch, pooling)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    rows, columns = height // patch, width // patch
    values = np.asarray(image, dtype=np.uint8).reshape(rows, patch, columns, patch, 3).swapaxes(1, 2)
    return Patches(OF_BYTE[values.reshape(rows * columns, -1)], (rows, columns))
