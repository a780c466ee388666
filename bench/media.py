"""Seeing and hearing on this CPU against transformers: E2B's real towers, and a photo's way to patches.

    python -m bench.media [--rounds 3] [--threads 2]

Both sides share one process and random bfloat16 weights; they take turns.  An image of 280 soft tokens, a
clip of 10 s, and a photo of 12 megapixels from JPEG to patches, against each of transformers' processors: the
PIL one, and the torchvision one where torchvision is installed.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import Gemma4AudioConfig, Gemma4VisionConfig
from transformers.models.gemma4 import modeling_gemma4 as theirs
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil
from transformers.utils import is_torchvision_available

from gemcut.config import AudioTowerConfig, VisionTowerConfig
from gemcut.media.audio import log_mel
from gemcut.media.image import open_image, to_patches
from gemcut.model.audio import AudioTower
from gemcut.model.vision import VisionTower

VISION = VisionTowerConfig(
    hidden_size=768,
    intermediate_size=3072,
    num_hidden_layers=16,
    num_attention_heads=12,
    head_dim=64,
    patch_size=16,
    pooling_kernel_size=3,
    position_embedding_size=10_240,
    rope_theta=100.0,
    rms_norm_eps=1e-6,
    standardize=False,
    use_clipped_linears=True,
)
AUDIO = AudioTowerConfig(
    hidden_size=1024,
    num_hidden_layers=12,
    num_attention_heads=8,
    attention_chunk_size=12,
    attention_context_left=13,
    attention_context_right=0,
    attention_logit_cap=50.0,
    attention_invalid_logits_value=-1e9,
    conv_kernel_size=5,
    subsampling_conv_channels=(128, 32),
    output_proj_dims=1536,
    residual_weight=0.5,
    gradient_clipping=1e10,
    rms_norm_eps=1e-6,
    use_clipped_linears=True,
)
GRID = (42, 60)  # 280 soft tokens


def fill(model: nn.Module) -> None:
    """Random weights that keep activations near 1."""
    for name, tensor in model.state_dict().items():
        if name.endswith(("_min", "_max")):
            tensor.fill_(-6.0 if name.endswith("_min") else 6.0)
        elif tensor.ndim > 1:
            tensor.normal_().mul_(tensor[0].numel() ** -0.5)
        else:
            tensor.fill_(tensor.numel() ** -0.5 if name.endswith("q_norm.weight") else 1.0)


def towers() -> dict[str, tuple[Callable[[], Tensor], Callable[[], Tensor]]]:
    """For each kind of input: our way and theirs, with the same weights."""
    sees = {k: v for k, v in vars(VISION).items() if k != "rope_theta"}
    their_eye = theirs.Gemma4VisionModel(Gemma4VisionConfig(**sees, num_key_value_heads=12)).eval()
    their_ear = theirs.Gemma4AudioModel(Gemma4AudioConfig(**vars(AUDIO))).eval()
    pairs = []
    for reference, ours in ((their_eye, VisionTower(VISION)), (their_ear, AudioTower(AUDIO))):
        fill(reference)
        ours.load_state_dict(reference.state_dict())
        pairs.append((ours.bfloat16().requires_grad_(False), reference.bfloat16().requires_grad_(False)))
    (eye, their_eye), (ear, their_ear) = pairs
    rows, columns = GRID
    pixels = torch.rand(rows * columns, 768)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    places = torch.stack((x, y), dim=-1).view(1, -1, 2)
    clip = torch.from_numpy(log_mel(np.random.default_rng(0).standard_normal(160_000).astype(np.float32)))
    heard = (clip[None].bfloat16(), torch.ones(1, len(clip), dtype=torch.bool))
    return {
        "an image of 280 tokens": (
            lambda: eye(pixels, [GRID]),
            lambda: their_eye(pixel_values=pixels[None], pixel_position_ids=places).last_hidden_state,
        ),
        "a clip of 10 s": (lambda: ear([clip])[0], lambda: their_ear(*heard).last_hidden_state),
    }


def photo() -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """A JPEG of 12 megapixels to patches: our way, and that of each processor of transformers."""
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((4000, 3000), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    data = file.getvalue()
    processors: dict[str, Any] = {"PIL": Gemma4ImageProcessorPil()}
    if is_torchvision_available():
        from transformers.models.gemma4.image_processing_gemma4 import Gemma4ImageProcessor

        processors["torchvision"] = Gemma4ImageProcessor()
    return {
        f"a 12 MP photo ({name})": (
            lambda: to_patches(open_image(data, "photo"), 280, 16, 3),
            lambda processor=processor: processor(Image.open(io.BytesIO(data)), return_tensors="np"),
        )
        for name, processor in processors.items()
    }


def seconds(run: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    """Parse, run the rounds, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with torch.inference_mode():
        for what, (ours, reference) in (towers() | photo()).items():
            ours(), reference()  # warm
            times = [(seconds(ours), seconds(reference)) for _ in range(args.rounds)]
            mine, others = (statistics.median(side) for side in zip(*times, strict=True))
            ratios = [b / a for a, b in times]
            print(
                f"{what:26} gemcut {mine:6.2f} s  transformers {others:6.2f} s  "
                f"{statistics.median(ratios):.2f}x (rounds: {min(ratios):.2f} to {max(ratios):.2f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
