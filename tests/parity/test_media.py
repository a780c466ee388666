"""Whole models on prompts that mix images, sound and video, against transformers', in float32."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import Gemma4Config, Gemma4ForConditionalGeneration
from transformers.models.gemma4_unified import Gemma4UnifiedConfig, Gemma4UnifiedForConditionalGeneration

from gemcut.config import AudioFrameConfig, ModelConfig, TextConfig, VisionPatchConfig
from gemcut.engine.media_encoder import MediaEncoder
from gemcut.media.image import Patches
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import whole_sequences
from gemcut.prompt.media import Prepared, PreparedImage, PreparedSound
from tests.parity.test_towers import AUDIO, VISION, randomise
from tests.parity.tiny import TINY, draw, greedy, model_config, their_config

TOKENS = model_config(TINY["e2b"]).media_tokens
PATCHED = VisionPatchConfig(
    mm_embed_dim=40,
    mm_posemb_size=64,
    output_proj_dims=40,
    patch_size=4,
    pooling_kernel_size=3,
    rms_norm_eps=1e-6,
)
FRAMED = AudioFrameConfig(
    audio_embed_dim=20, audio_samples_per_token=20, output_proj_dims=20, rms_norm_eps=1e-6
)
BIG = replace(VISION, head_dim=24, standardize=True, use_clipped_linears=False)
MODELS: dict[str, dict[str, Any]] = {
    "e2b": {"vision": VISION, "audio": AUDIO},
    "e4b": {"vision": VISION, "audio": AUDIO},
    "12b": {"vision": PATCHED, "audio": FRAMED},
    "26b": {"vision": BIG, "audio": None},
    "31b": {"vision": BIG, "audio": None},
}
SEEN = (  # what the prompts hold: grids of soft tokens, lengths of clips, videos as lists of grids
    (("image", (2, 3)),),
    (("image", (7, 6)), ("image", (1, 1))),  # the first is longer than the window of 24
    (("video", ((2, 2), (2, 2), (2, 2))), ("image", (1, 9))),
    (("image", (5, 1)), ("video", ((3, 2),)), ("image", (2, 2)), ("video", ((1, 1), (1, 1)))),
)
HEARD = ((("audio", 90),), (("audio", 7), ("image", (2, 3)), ("audio", 200), ("video", ((2, 2), (2, 2)))))


@dataclass
class Case:
    """A prompt, for both sides."""

    ids: list[int]
    media: list[Prepared]
    theirs: dict[str, Tensor]


def whole_config(size: str) -> ModelConfig:
    return replace(model_config(TINY[size]), **MODELS[size])


def whole_pair(size: str) -> tuple[Gemma4, Any]:
    """Our model and theirs, with the same weights."""
    config = whole_config(size)
    ids = {
        "image_token_id": TOKENS.image,
        "boi_token_id": TOKENS.begin_image,
        "eoi_token_id": TOKENS.end_image,
        "audio_token_id": TOKENS.audio,
        "boa_token_id": TOKENS.begin_audio,
        "eoa_token_index": TOKENS.end_audio,
        "video_token_id": TOKENS.video,
    }
    vision, audio = ({} if part is None else vars(part) for part in (config.vision, config.audio))
    text = their_config(config.text).to_dict()
    reference: Any
    if size == "12b":
        known = set(Gemma4UnifiedConfig().text_config.to_dict())
        reference = Gemma4UnifiedForConditionalGeneration(
            Gemma4UnifiedConfig(
                text_config={
                    key: value for key, value in text.items() if key in known and key != "model_type"
                },
                vision_config=vision,
                audio_config=audio,
                **ids,
            )
        )
    else:
        vision = {k: v for k, v in vision.items() if k != "rope_theta"}
        reference = Gemma4ForConditionalGeneration(
            Gemma4Config(
                text_config=text,
                vision_config=vision | {"num_key_value_heads": vision["num_attention_heads"]},
                audio_config=None if config.audio is None else audio,
                **ids,
            )
        )
    reference.eval()
    randomise_whole(reference)
    ours = Gemma4(config).eval().requires_grad_(False)
    state = {
        on_disk(name, size): tensor
        for name, tensor in reference.state_dict().items()
        if name != "lm_head.weight"
    }
    ours.load_state_dict(state, strict=True)
    return ours, reference


def on_disk(name: str, size: str) -> str:
    """The hub's name of a tensor: transformers' 12B has its projections under other names."""
    if size != "12b" or "embed_vision" not in name:
        return name
    inner = name.replace("multimodal_embedder.", "")
    return inner if inner != name else name.replace("embed_vision", "vision_embedder")


def randomise_whole(reference: Any) -> None:
    generator = torch.Generator().manual_seed(5)
    parts = reference.model
    for name, tensor in parts.language_model.state_dict().items():
        tensor.copy_(draw(name, tensor.shape, generator))
    for name, part in parts.named_children():
        if name != "language_model" and part is not None:
            randomise(part)


def make_case(items: Sequence[tuple[str, Any]], config: ModelConfig, seed: int) -> Case:
    """A prompt with these media, text between them."""
    random = np.random.default_rng(seed)
    ids = [config.text.bos_token_id, *random.integers(20, 300, 4).tolist()]
    media: list[Prepared] = []
    pixels: dict[str, list[tuple[Tensor, tuple[int, int]]]] = {"image": [], "video": []}
    clips: list[Tensor] = []
    frames_of_videos: list[int] = []
    for kind, size in items:
        if kind == "audio":
            sound = make_sound(size, config, random)
            media.append(sound)
            clips.append(torch.from_numpy(sound.frames))
            ids += [TOKENS.begin_audio, *[TOKENS.audio] * sound.tokens, TOKENS.end_audio]
        grids = [size] if kind == "image" else size if kind == "video" else []
        for grid in grids:
            image = make_image(grid, config, random)
            media.append(image)
            pixels[kind].append((torch.from_numpy(image.patches.pixels), image.patches.grid))
            placeholder = TOKENS.image if kind == "image" else TOKENS.video
            ids += [TOKENS.begin_image, *[placeholder] * image.tokens, TOKENS.end_image]
            ids += random.integers(20, 300, 2).tolist()
        if kind == "video":
            frames_of_videos.append(len(size))
    ids += random.integers(20, 300, 5).tolist()
    theirs = {"input_ids": torch.tensor([ids])}
    for kind, (values, places) in {"image": ("pixel_values", "image_position_ids")}.items() | {
        "video": ("pixel_values_videos", "video_position_ids")
    }.items():
        if pixels[kind]:
            theirs[values], theirs[places] = padded(pixels[kind])
    if frames_of_videos:
        theirs["num_frames_per_video"] = torch.tensor(frames_of_videos)
    if clips:
        theirs["input_features"], theirs["input_features_mask"] = padded_clips(clips)
    types = {TOKENS.image: 1, TOKENS.video: 2, TOKENS.audio: 3}
    theirs["mm_token_type_ids"] = torch.tensor([[types.get(token, 0) for token in ids]])
    return Case(ids, media, theirs)


def make_image(grid: tuple[int, int], config: ModelConfig, random: Any) -> PreparedImage:
    """Noise of this many rows and columns of soft tokens."""
    vision = config.vision
    assert vision is not None
    side = 1 if isinstance(vision, VisionPatchConfig) else vision.pooling_kernel_size
    rows, columns = grid[0] * side, grid[1] * side
    width = vision.patch_size * (vision.pooling_kernel_size if side == 1 else 1)
    pixels = random.random((rows * columns, 3 * width**2), dtype=np.float32)
    return PreparedImage(Patches(pixels, (rows, columns)), grid[0] * grid[1], pixels.tobytes()[:64])


def make_sound(length: int, config: ModelConfig, random: Any) -> PreparedSound:
    audio = config.audio
    if isinstance(audio, AudioFrameConfig):
        length = -(-length // 10)
        frames = random.standard_normal((length, audio.audio_embed_dim), dtype=np.float32)
        return PreparedSound(frames, length, frames.tobytes()[:64])
    frames = random.standard_normal((length, 128), dtype=np.float32)
    return PreparedSound(frames, -(-length // 4), frames.tobytes()[:64])


def padded(images: Sequence[tuple[Tensor, tuple[int, int]]]) -> tuple[Tensor, Tensor]:
    """Patches (images, most, values) and places (images, most, 2), filled up with 0 and -1."""
    most = max(len(pixels) for pixels, _ in images)
    values = torch.zeros(len(images), most, images[0][0].shape[1])
    places = torch.full((len(images), most, 2), -1)
    for number, (pixels, (rows, columns)) in enumerate(images):
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        values[number, : len(pixels)] = pixels
        places[number, : len(pixels)] = torch.stack((x, y), dim=-1).view(-1, 2)
    return values, places


def padded_clips(clips: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    most = max(len(clip) for clip in clips)
    values = torch.zeros(len(clips), most, clips[0].shape[1])
    mask = torch.zeros(len(clips), most, dtype=torch.bool)
    for number, clip in enumerate(clips):
        values[number, : len(clip)], mask[number, : len(clip)] = clip, True
    return values, mask


def cases_of(size: str) -> list[Case]:
    config = whole_config(size)
    wanted = SEEN if config.audio is None else SEEN + HEARD
    return [make_case(items, config, seed) for seed, items in enumerate(wanted)]


def logits_of(model: Gemma4, case: Case) -> Tensor:
    text: TextConfig = model.config.text
    ids = torch.tensor(case.ids)
    step = whole_sequences([len(ids)], text, ids.device, model.image_blocks(ids))
    soft = MediaEncoder(model).encode(case.media)
    return model.logits(model(model.embed_with_soft_tokens(ids, soft), step))


@pytest.mark.parametrize("size", MODELS)
@torch.inference_mode()
def test_logits_and_32_greedy_tokens_equal_transformers(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = whole_pair(size)
    encoder = MediaEncoder(ours)
    for case in cases_of(size):
        want = theirs(**case.theirs).logits[0]
        torch.testing.assert_close(logits_of(ours, case), want, atol=2e-4, rtol=0)
        soft = encoder.encode(case.media)
        made = theirs.generate(**case.theirs, max_new_tokens=32, do_sample=False, eos_token_id=None)
        for rows in (2048, 16):  # whole, and in pieces that leave no image apart
            monkeypatch.setattr("gemcut.engine.naive.PREFILL_ROWS", rows)
            tokens = greedy(ours, case.ids, 32, soft)
            assert tokens == made[0, len(case.ids) :].tolist()


@torch.inference_mode()
def test_what_was_encoded_is_not_encoded_again() -> None:
    ours, _ = whole_pair("e2b")
    first, second = cases_of("e2b")[3], cases_of("e2b")[5]
    encoder = MediaEncoder(ours)
    soft = encoder.encode(first.media)
    assert encoder.num_encoded == len(first.media)
    torch.testing.assert_close(encoder.encode(first.media), soft, atol=0, rtol=0)
    both = encoder.encode([*second.media, *first.media])
    assert encoder.num_encoded == len(first.media) + len(second.media)
    torch.testing.assert_close(both[-len(soft) :], soft, atol=0, rtol=0)


@torch.inference_mode()
def test_who_has_no_media_does_not_wait_for_those_of_others() -> None:
    ours, _ = whole_pair("e2b")
    encoder = MediaEncoder(ours)
    with encoder._lock:  # as while somebody's pictures go through the tower
        assert encoder.encode([]).shape == (0, ours.config.text.hidden_size)
