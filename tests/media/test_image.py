"""Images against transformers' PIL processor, and what people send that is none."""

import io

import numpy as np
import pytest
from PIL import Image
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

from gemcut.errors import BadMedia, BadOption
from gemcut.media.image import BUDGETS, MOST_PIXELS, fitted_size, open_image, to_patches


def noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def as_bytes(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("size", [(1, 1), (640, 480), (3, 4000), (4000, 3), (48, 48), (1000, 333)])
def test_pixels_equal_those_of_transformers(size: tuple[int, int], budget: int) -> None:
    image = noise(*size)
    theirs = Gemma4ImageProcessorPil(max_soft_tokens=budget)(image, return_tensors="np")
    ours = to_patches(image, budget, 16, 3)
    rows, columns = ours.grid
    assert theirs["num_soft_tokens_per_image"][0] == rows * columns // 9
    assert np.array_equal(theirs["pixel_values"][0][: rows * columns], ours.pixels)
    assert not theirs["pixel_values"][0][rows * columns :].any()


def test_a_picture_is_turned_as_its_camera_says() -> None:
    image = noise(40, 20)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    assert open_image(as_bytes(image, "PNG", exif=exif), "x").size == (20, 40)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "1", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    grey = Image.new("L", (8, 8), 200)
    image = Image.fromarray(np.full((8, 8), 200 << 8, np.uint16)) if mode == "I;16" else grey.convert(mode)
    opened = open_image(as_bytes(image, "TIFF" if mode == "CMYK" else "PNG"), "x")
    assert opened.mode == "RGB"
    assert opened.getpixel((3, 3)) == ((255, 255, 255) if mode == "1" else (200, 200, 200))


def test_a_damaged_file_says_so() -> None:
    whole = as_bytes(noise(200, 200), "JPEG")
    with pytest.raises(BadMedia, match="photo.jpg is damaged"):
        open_image(whole[: len(whole) // 2], "photo.jpg")


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04" + bytes(100)])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(BadMedia, match="x.png is no image"):
        open_image(data, "x.png")


def test_a_picture_that_would_fill_the_memory_is_refused_before_it_is_read() -> None:
    wide = Image.new("1", (20_000, MOST_PIXELS // 20_000 + 1))
    with pytest.raises(BadMedia, match="million pixels"):
        open_image(as_bytes(wide, "PNG"), "bomb.png")


def test_an_unknown_budget_is_refused() -> None:
    with pytest.raises(BadOption, match="70, 140, 280, 560, 1120 tokens, not 100"):
        to_patches(noise(8, 8), 100, 16, 3)


def test_a_fitted_image_never_exceeds_its_budget() -> None:
    for budget in BUDGETS:
        for height in (1, 7, 100, 3000):
            for width in (1, 9, 640, 5000):
                rows, columns = (length // 48 for length in fitted_size(height, width, budget, 16, 3))
                assert 1 <= rows * columns <= budget
