"""The vision and audio numbers, and what is wrong with bad ones."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gemcut.checkpoint.media_section import (
    audio_frames_json,
    audio_tower_json,
    media_tokens_json,
    read_audio_frames,
    read_audio_tower,
    read_media_tokens,
    read_vision_patches,
    read_vision_tower,
    vision_patches_json,
    vision_tower_json,
)
from gemcut.checkpoint.section import Section
from gemcut.errors import BadConfig
from tests.checkpoint.models import AUDIO_FRAMES, AUDIO_TOWER, TOKENS, VISION_PATCHES, VISION_TOWER


def section(values: dict[str, Any]) -> Section:
    return Section(Path("config.json"), "part.", values)


def read_patches(values: Section) -> Any:
    return read_vision_patches(values, 280)


PARTS: dict[str, tuple[Callable[[Section], Any], dict[str, Any], Any]] = {
    "vision tower": (read_vision_tower, vision_tower_json(VISION_TOWER), VISION_TOWER),
    "vision patches": (read_patches, vision_patches_json(VISION_PATCHES, 280), VISION_PATCHES),
    "audio tower": (read_audio_tower, audio_tower_json(AUDIO_TOWER), AUDIO_TOWER),
    "audio frames": (read_audio_frames, audio_frames_json(AUDIO_FRAMES), AUDIO_FRAMES),
    "tokens": (read_media_tokens, media_tokens_json(TOKENS), TOKENS),
}
each_part = pytest.mark.parametrize("part", PARTS)


@each_part
def test_what_we_write_reads_back(part: str) -> None:
    read, values, config = PARTS[part]
    assert read(section(values)) == config


@each_part
def test_every_number_is_read_from_its_own_key(part: str) -> None:
    read, values, config = PARTS[part]
    fixed = ("num_key_value_heads", "num_soft_tokens", "attention_dropout")
    for key, value in values.items():
        if type(value) in (int, float) and key not in fixed:
            changed = values | {key: value + 1}
            if part == "audio frames" and key != "rms_norm_eps":  # one number under four keys
                changed = values | dict.fromkeys(values.keys() - {"model_type", "rms_norm_eps"}, value + 1)
            if key == "num_attention_heads" and "num_key_value_heads" in values:
                changed["num_key_value_heads"] = value + 1
            if key in ("patch_size", "pooling_kernel_size", "model_patch_size"):
                changed.pop("model_patch_size", None)
                if key == "model_patch_size":
                    continue
            assert read(section(changed)) != config, key


@each_part
def test_an_unknown_key_is_named(part: str) -> None:
    read, values, _ = PARTS[part]
    if part != "tokens":  # their keys stand among others, in the outermost section
        with pytest.raises(BadConfig, match=r"config.json: part\.zebra is a key that gemcut does not know"):
            read(section(values | {"zebra": 1}))


@each_part
def test_a_missing_key_is_named(part: str) -> None:
    read, values, config = PARTS[part]
    optional = {"attention_bias", "attention_dropout", "num_key_value_heads", "model_patch_size"}
    optional |= {"num_soft_tokens", "audio_samples_per_token"}
    optional |= {"hidden_size", "output_proj_dims"} if part == "audio frames" else set()
    for key in values:
        rest = {other: value for other, value in values.items() if other != key}
        if key in optional:
            assert read(section(rest)) == config
        else:
            with pytest.raises(BadConfig, match=rf"config.json: part\.{key} is missing"):
                read(section(rest))


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("vision tower", "model_type", "siglip"),
        ("vision tower", "hidden_activation", "relu"),
        ("vision tower", "attention_bias", True),
        ("vision tower", "attention_dropout", 0.1),
        ("vision tower", "num_key_value_heads", 1),
        ("vision tower", "global_head_dim", 32),
        ("vision patches", "model_patch_size", 16),
        ("vision patches", "num_soft_tokens", 70),
        ("audio tower", "hidden_act", "gelu"),
        ("audio tower", "subsampling_conv_channels", [1, 2, 3]),
        ("audio tower", "attention_logit_cap", 0),
        ("audio frames", "audio_samples_per_token", 320),
        ("tokens", "eoa_token_id", 3),
        ("tokens", "image_token_id", None),
    ],
)
def test_a_value_that_we_cannot_compute_with_is_named(part: str, key: str, value: Any) -> None:
    read, values, _ = PARTS[part]
    with pytest.raises(BadConfig, match=rf"config.json: part\.{key} is "):
        read(section(values | {key: value}))


def test_both_names_of_the_vision_towers_rope_are_the_same_rope() -> None:
    values = vision_tower_json(VISION_TOWER)
    theta = values["rope_parameters"]["rope_theta"]
    values["rope_parameters"] = {"rope_type": "axial", "rope_theta": theta}
    assert read_vision_tower(section(values)) == VISION_TOWER
    values["rope_parameters"] = {"rope_type": "proportional", "rope_theta": theta}
    with pytest.raises(BadConfig, match="rope_parameters.rope_type is 'proportional'"):
        read_vision_tower(section(values))


def test_the_vision_rope_has_a_base_of_its_own() -> None:
    values = vision_tower_json(replace(VISION_TOWER, rope_theta=50.0))
    assert read_vision_tower(section(values)).rope_theta == 50.0
