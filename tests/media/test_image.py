"""Images against transformers' PIL processor, and what people send that is none."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

from gemcut.errors import BadMedia, BadOption
from gemcut.media.image import BUDGETS, FORMATS, MOST_PIXELS, fitted_size, load_image, open_image, to_patches
from tests.media.makers import as_bytes, is_one_line_about, noise, refusal_or

PICTURES = {kind: as_bytes(noise(24, 16), kind) for kind in FORMATS}


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


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparent_parts_are_white_as_in_transformers(mode: str) -> None:
    image = noise(96, 48, 4).convert(mode)
    theirs = Gemma4ImageProcessorPil(max_soft_tokens=70)(image, return_tensors="np")
    for source in (image, as_bytes(image, "PNG"), np.asarray(image.convert("RGBA"))):
        ours = to_patches(load_image(source, "x"), 70, 16, 3).pixels
        assert np.array_equal(theirs["pixel_values"][0][: len(ours)], ours)


def test_a_transparent_colour_of_a_palette_is_white() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    assert open_image(as_bytes(image, "PNG", transparency=1), "x").getpixel((0, 0)) == (255, 255, 255)
    assert open_image(as_bytes(image, "PNG", transparency=0), "x").getpixel((0, 0)) == (0, 0, 255)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_of_many_pictures_is_taken(kind: str) -> None:
    red, blue = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    opened = open_image(as_bytes(red, kind, save_all=True, append_images=[blue]), "x")
    assert np.allclose(np.asarray(opened), (255, 0, 0), atol=9)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_read_from_every_source(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(PICTURES[kind])
    expected = open_image(PICTURES[kind], "x")
    assert expected.size == (24, 16)
    for source in (PICTURES[kind], path, str(path), {"url": str(path), "detail": "low"}):
        assert load_image(source, "x") == expected


def test_arrays_and_pictures_are_taken_as_they_are() -> None:
    image = noise(6, 4)
    values = np.asarray(image)
    assert load_image(image, "x") == image
    assert load_image(values, "x") == image
    assert load_image((values / 255).astype(np.float32), "x") == image
    grey = Image.fromarray(values[:, :, 0]).convert("RGB")
    assert load_image(values[:, :, 0], "x") == load_image(values[:, :, :1], "x") == grey
    image.getexif()[0x0112] = 6  # turned by a quarter
    assert load_image(image, "x").size == (4, 6)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((2, 2), np.int64), "x holds int64; give uint8, or floats of 0 to 1"),
        (np.zeros((2, 2), bool), "x holds bool"),
        (np.full((2, 2), 1.5), "x has floats from 1.5 to 1.5; scale them to 0 to 1"),
        (np.full((2, 2), np.nan), "x has floats from nan to nan"),
        (np.zeros((2, 2, 2), np.uint8), r"x has the shape \(2, 2, 2\); give \(height, width\)"),
        (np.zeros(4, np.uint8), r"x has the shape \(4,\)"),
        (np.zeros((0, 4, 3), np.uint8), "x is 4 × 0 pixels"),
        (np.broadcast_to(np.uint8(0), (8001, 8000)), "x has 64 million pixels"),
        (Image.new("RGB", (4, 0)), "x is 4 × 0 pixels"),
        (17, "x: int holds no media"),
        ("/no/such.png", "x: /no/such.png cannot be read"),
    ],
)
def test_what_is_no_picture_is_refused(source: object, message: str) -> None:
    with pytest.raises(BadMedia, match=message):
        load_image(source, "x")


@pytest.mark.parametrize(
    ("side", "message"), [(10_000, "100 million pixels"), (60_000, "more than 64 million")]
)
def test_a_bomb_is_refused_by_its_header(side: int, message: str) -> None:
    """A PNG of a hundred bytes that says it is large: no decoder is asked to fill it."""
    tiny = as_bytes(Image.new("L", (1, 1)), "PNG")
    header = b"IHDR" + side.to_bytes(4, "big") * 2 + tiny[24:29]
    bomb = tiny[:12] + header + zlib.crc32(header).to_bytes(4, "big") + tiny[33:]
    with pytest.raises(BadMedia, match=message):
        open_image(bomb, "x")


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(FORMATS), st.data())
def test_no_damage_does_worse_than_be_refused(kind: str, data: st.DataObject) -> None:
    whole = bytearray(PICTURES[kind])
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=8)):
        whole[at] ^= 1 << data.draw(st.integers(0, 7))
    damaged = bytes(whole[: data.draw(st.integers(1, len(whole)))])
    match refusal_or(lambda: load_image(damaged, "x")):
        case BadMedia() as refusal:
            assert is_one_line_about("x ", refusal)
        case image:
            assert isinstance(image, Image.Image)
            assert image.mode == "RGB"


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
