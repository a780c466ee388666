"""The towers against transformers', in float32, on random weights: mixed batches, and one at a time."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import Gemma4AudioConfig, Gemma4VisionConfig
from transformers.models.gemma4 import modeling_gemma4 as theirs

from gemcut.config import AudioTowerConfig, VisionTowerConfig
from gemcut.media.audio import log_mel
from gemcut.media.image import BUDGETS, to_patches
from gemcut.model.audio import AudioTower
from gemcut.model.vision import Grid, VisionTower
from tests.media.makers import noise, sine

VISION = VisionTowerConfig(
    hidden_size=48,
    intermediate_size=96,
    num_hidden_layers=3,
    num_attention_heads=4,
    head_dim=16,
    patch_size=4,
    pooling_kernel_size=3,
    position_embedding_size=64,
    rope_theta=100.0,
    rms_norm_eps=1e-6,
    standardize=False,
    use_clipped_linears=True,
)
AUDIO = AudioTowerConfig(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    attention_chunk_size=12,
    attention_context_left=13,
    attention_context_right=0,
    attention_logit_cap=50.0,
    attention_invalid_logits_value=-1e9,
    conv_kernel_size=5,
    subsampling_conv_channels=(128, 8),
    output_proj_dims=40,
    residual_weight=0.5,
    gradient_clipping=1e10,
    rms_norm_eps=1e-6,
    use_clipped_linears=True,
)


def randomise(model: nn.Module) -> None:
    """Weights of a size that keeps activations near 1, and ranges that really clip."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if name.endswith(("input_min", "output_min")):
            tensor.fill_(-1.5)
        elif name.endswith(("input_max", "output_max")):
            tensor.fill_(1.5)
        elif tensor.ndim > 1:
            tensor.normal_(generator=generator).mul_(tensor[0].numel() ** -0.5)
        else:
            tensor.normal_(generator=generator).mul_(0.3).add_(1.0)
            if name.endswith("q_norm.weight"):  # scores are not scaled, so a trained norm holds about this
                tensor.mul_(len(tensor) ** -0.5)


def vision_pair(config: VisionTowerConfig) -> tuple[VisionTower, Any]:
    reference = theirs.Gemma4VisionModel(
        Gemma4VisionConfig(
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            num_key_value_heads=config.num_attention_heads,
            head_dim=config.head_dim,
            patch_size=config.patch_size,
            pooling_kernel_size=config.pooling_kernel_size,
            position_embedding_size=config.position_embedding_size,
            standardize=config.standardize,
            use_clipped_linears=config.use_clipped_linears,
        )
    ).eval()
    randomise(reference)
    tower = VisionTower(config)
    tower.load_state_dict(reference.state_dict())
    return tower, reference


def by_us(tower: VisionTower, pixels: list[Tensor], grids: list[Grid]) -> Tensor:
    """All images in one batch, packed."""
    out: Tensor = tower(torch.cat(pixels), grids)
    return out


def by_reference(
    reference: Any, config: VisionTowerConfig, pixels: list[Tensor], grids: list[Grid]
) -> Tensor:
    """All images in one batch, padded as its processor pads."""
    most = max(rows * columns for rows, columns in grids)
    values = torch.zeros(len(grids), most, 3 * config.patch_size**2)
    places = torch.full((len(grids), most, 2), -1)
    for number, (image, (rows, columns)) in enumerate(zip(pixels, grids, strict=True)):
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        values[number, : len(image)] = image
        places[number, : len(image)] = torch.stack((x, y), dim=-1).view(-1, 2)
    out: Tensor = reference(pixel_values=values, pixel_position_ids=places).last_hidden_state
    return out


@pytest.mark.parametrize("big", [False, True], ids=["edge", "big"])
@pytest.mark.parametrize(
    "grids", [[(3, 3)], [(6, 9)], [(3, 60), (60, 3)], [(6, 6), (9, 3), (3, 12), (12, 12)]], ids=str
)
@torch.no_grad()
def test_vision_tower(big: bool, grids: list[Grid]) -> None:
    config = VISION
    if big:
        config = replace(VISION, head_dim=24, standardize=True, use_clipped_linears=False)
    tower, reference = vision_pair(config)
    generator = torch.Generator().manual_seed(1)
    pixels = [
        torch.rand(rows * columns, 3 * config.patch_size**2, generator=generator) for rows, columns in grids
    ]
    got = by_us(tower, pixels, grids)
    torch.testing.assert_close(got, by_reference(reference, config, pixels, grids), atol=2e-4, rtol=0)
    alone = torch.cat([by_us(tower, [image], [grid]) for image, grid in zip(pixels, grids, strict=True)])
    torch.testing.assert_close(got, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("budget", BUDGETS)
@torch.no_grad()
def test_pictures_of_odd_sizes_at_each_budget(budget: int) -> None:
    """All of them packed, each against the reference alone: padded to the longest it would need gigabytes."""
    config = replace(
        VISION, position_embedding_size=3 * BUDGETS[-1], num_hidden_layers=1, num_attention_heads=1
    )
    tower, reference = vision_pair(config)
    images = [noise(*size) for size in ((1, 1), (3, 4000), (4000, 4000))]
    patches = [to_patches(image, budget, config.patch_size, config.pooling_kernel_size) for image in images]
    pixels, grids = [torch.from_numpy(each.pixels) for each in patches], [each.grid for each in patches]
    counts = [rows * columns // config.pooling_kernel_size**2 for rows, columns in grids]
    assert budget * 0.9 < max(counts) <= budget
    got = torch.split(by_us(tower, pixels, grids), counts)
    for soft, image, grid in zip(got, pixels, grids, strict=True):
        torch.testing.assert_close(soft, by_reference(reference, config, [image], [grid]), atol=2e-4, rtol=0)


def audio_pair() -> tuple[AudioTower, Any]:
    reference = theirs.Gemma4AudioModel(Gemma4AudioConfig(**vars(AUDIO), attn_implementation="eager")).eval()
    randomise(reference)
    tower = AudioTower(AUDIO)
    tower.load_state_dict(reference.state_dict())
    return tower, reference


def assert_clips_equal(clips: list[Tensor]) -> None:
    """All in one batch, padded as their processor pads."""
    tower, reference = audio_pair()
    most = max(map(len, clips))
    features, mask = torch.zeros(len(clips), most, 128), torch.zeros(len(clips), most, dtype=torch.bool)
    for number, clip in enumerate(clips):
        features[number, : len(clip)], mask[number, : len(clip)] = clip, True
    out = reference(features, mask)
    for number, soft in enumerate(tower(clips)):
        valid = out.attention_mask[number]
        assert len(soft) == int(valid.sum())
        torch.testing.assert_close(soft, out.last_hidden_state[number][valid], atol=2e-4, rtol=0)


@pytest.mark.parametrize("lengths", [[1], [3], [47], [48], [49], [200], [5, 130, 64, 1]], ids=str)
@torch.no_grad()
def test_audio_tower(lengths: list[int]) -> None:
    generator = torch.Generator().manual_seed(2)
    assert_clips_equal([torch.randn(length, 128, generator=generator) for length in lengths])


@torch.no_grad()
def test_sound_and_silence_from_30_ms_to_30_s() -> None:
    silence = [np.zeros(count, np.float32) for count in (480, 480_000)]
    sound = [sine(seconds) for seconds in (0.03, 7.3, 30.0)]
    clips = [torch.from_numpy(log_mel(samples)) for samples in silence + sound]
    assert [len(clip) for clip in clips] == [2, 2999, 2, 729, 2999]
    assert_clips_equal(clips)
