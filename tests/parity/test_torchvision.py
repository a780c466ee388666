"""Pixels against transformers' torchvision processors.

Ours equal those of its PIL processor exactly (tests/media/test_image.py), and its two processors do not round
alike: docs/differences.md.
"""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from transformers.utils import is_torchvision_available

from gemcut.media.image import BUDGETS, to_patches
from tests.media.makers import noise

pytestmark = pytest.mark.skipif(
    not is_torchvision_available(),
    reason="needs torchvision, as transformers' other processors do: pip install torchvision==0.28.0",
)
ONE, THREE = 1 / 255 + 1e-6, 3 / 255 + 1e-6


def picture(width: int, height: int) -> Image.Image:
    """As smooth as a photo."""
    return noise(width // 16 + 2, height // 16 + 2).resize((width, height), Image.Resampling.BICUBIC)


def by_torchvision(image: Image.Image, budget: int) -> NDArray[np.float32]:
    """Patches without padding."""
    from transformers.models.gemma4.image_processing_gemma4 import Gemma4ImageProcessor

    made = Gemma4ImageProcessor(max_soft_tokens=budget)(image, return_tensors="np")
    return made["pixel_values"][0][: made["num_soft_tokens_per_image"][0] * 9]


def assert_alike(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> None:
    """Within 1/255 but for one value in 5,000."""
    difference = np.abs(ours - theirs)
    assert difference.max() <= THREE
    assert (difference > ONE).mean() <= 2e-4


@pytest.mark.parametrize("make", [picture, noise])
def test_a_photo_is_within_one_of_255(make: Callable[[int, int], Image.Image]) -> None:
    image = make(4000, 3000)
    difference = np.abs(to_patches(image, 280, 16, 3).pixels - by_torchvision(image, 280))
    assert difference.max() <= ONE


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("size", [(1, 1), (640, 480), (3, 4000), (4000, 3), (48, 48), (1000, 333)])
def test_a_picture_of_any_size_is_alike(size: tuple[int, int], budget: int) -> None:
    image = picture(*size)
    assert_alike(to_patches(image, budget, 16, 3).pixels, by_torchvision(image, budget))


@pytest.mark.parametrize("size", [(64, 48), (1920, 1080), (90, 700)])
def test_frames_of_a_video_are_alike(size: tuple[int, int]) -> None:
    from transformers.models.gemma4.video_processing_gemma4 import Gemma4VideoProcessor

    frames = [picture(*size), picture(*size).rotate(180)]
    video = np.stack([np.asarray(frame) for frame in frames])
    theirs = Gemma4VideoProcessor()([video], do_sample_frames=False, return_tensors="np")
    for frame, values in zip(frames, theirs["pixel_values_videos"], strict=True):
        ours = to_patches(frame, 70, 16, 3).pixels
        assert_alike(ours, values[: len(ours)])
