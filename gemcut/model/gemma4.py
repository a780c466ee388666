"""The whole model: token ids, positions, images and sounds in, logits out.

Letters: N rows of a step, M rows whose output is wanted, S soft tokens, C model width, V vocabulary.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from gemcut.config import (
    AudioFrameConfig,
    AudioTowerConfig,
    ModelConfig,
    VisionPatchConfig,
    VisionTowerConfig,
)
from gemcut.kernels.norm import at_least_float32
from gemcut.model.audio import AudioTower
from gemcut.model.embedding import EmbeddingTable
from gemcut.model.math import soft_cap
from gemcut.model.step import Embedded, Step, image_blocks
from gemcut.model.text import TextModel
from gemcut.model.tower import MediaEmbedder
from gemcut.model.vision import Grid, PatchProjection, VisionTower


class Parts(nn.Module):
    """What the checkpoint has below `model`: the decoder, and the ways into it for images and sound."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.language_model = TextModel(config.text)
        width, vision, audio = config.text.hidden_size, config.vision, config.audio
        if isinstance(vision, VisionTowerConfig):
            self.vision_tower = VisionTower(vision)
            self.embed_vision = MediaEmbedder(vision.hidden_size, width, vision.rms_norm_eps)
        if isinstance(vision, VisionPatchConfig):
            self.vision_embedder = PatchProjection(vision)
            self.embed_vision = MediaEmbedder(vision.output_proj_dims, width, vision.rms_norm_eps)
        if isinstance(audio, AudioTowerConfig):
            self.audio_tower = AudioTower(audio)
            self.embed_audio = MediaEmbedder(audio.output_proj_dims, width, audio.rms_norm_eps)
        if isinstance(audio, AudioFrameConfig):
            self.embed_audio = MediaEmbedder(audio.audio_embed_dim, width, audio.rms_norm_eps)


class OutputHead(nn.Module):
    """Hidden rows to logits; the embedding's table is passed in, so that it has one owner."""

    def __init__(self, cap: float | None) -> None:
        super().__init__()
        self.capped: Callable[[Tensor], Tensor] = (
            (lambda logits: logits) if cap is None else (lambda logits: soft_cap(logits, cap))
        )

    def forward(self, hidden: Tensor, table: EmbeddingTable) -> Tensor:
        """(M, C) -> (M, V) in float32 at least."""
        return self.capped(table.product(hidden).to(at_least_float32(hidden.dtype)))


class Gemma4(nn.Module):
    """A Gemma 4 model of any size; parameter names are the checkpoint's."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Parts(config)
        self.head = OutputHead(config.text.final_logit_softcapping)

    def embed(self, ids: Tensor) -> Embedded:
        """(N,) int64 token ids -> rows for `forward`."""
        return self.model.language_model.embed(ids)

    def embed_with_soft_tokens(self, ids: Tensor, soft: Tensor) -> Embedded:
        """(N,) int64 token ids, with a placeholder for each of the soft tokens (S, C), in order -> rows."""
        return self.model.language_model.embed_with_soft_tokens(ids, self.placeholders(ids), soft)

    def placeholders(self, ids: Tensor) -> Tensor:
        """Which ids stand for soft tokens, (N,) bool."""
        tokens = self.config.media_tokens
        return torch.isin(ids, torch.tensor((tokens.image, tokens.video, tokens.audio), device=ids.device))

    def image_blocks(self, ids: Tensor) -> Tensor | None:
        """The number of the image that each row belongs to, (N,) int64, -1 for none.

        None where rows see causally only: the edge models, a step without an image.
        """
        if not self.config.text.bidirectional_images or len(ids) == 1:
            return None
        tokens = self.config.media_tokens
        in_image = torch.isin(ids, torch.tensor((tokens.image, tokens.video), device=ids.device))
        return image_blocks(in_image) if in_image.any() else None

    def encode_images(self, pixels: Tensor, grids: Sequence[Grid]) -> Tensor:
        """Patches of images, packed, to their soft tokens, packed: (patches, values) -> (S, C).

        grids: rows and columns of each image's patches.
        """
        parts = self.model
        tower = parts.vision_tower if hasattr(parts, "vision_tower") else parts.vision_embedder
        soft: Tensor = parts.embed_vision(tower(pixels, grids))
        return soft

    def encode_sounds(self, clips: Sequence[Tensor]) -> list[Tensor]:
        """Mel features, or raw frames, of each clip to its soft tokens, (S, C) each."""
        parts = self.model
        dtype = parts.embed_audio.embedding_projection.weight.dtype
        towered = parts.audio_tower(clips) if hasattr(parts, "audio_tower") else [c.to(dtype) for c in clips]
        return [parts.embed_audio(clip) for clip in towered]

    def forward(self, embedded: Embedded, step: Step) -> Tensor:
        """Hidden rows after the final norm, (M, C)."""
        hidden: Tensor = self.model.language_model(embedded, step)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """(M, C) -> (M, V), soft-capped, float32 at least."""
        logits: Tensor = self.head(hidden, self.model.language_model.embed_tokens)
        return logits
