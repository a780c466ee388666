"""What sees and hears of a model as llama.cpp's second GGUF file, the "mmproj".

Source: llama.cpp, conversion/gemma.py `Gemma4VisionAudioModel` and `Gemma4UnifiedVisionAudioModel` (the 12B),
gguf-py/gguf/tensor_mapping.py and tools/mtmd/models, as in llama-cpp-python 0.3.36.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gemcut.checkpoint.gguf_write import GgufEntry, GgufKind, write_gguf
from gemcut.checkpoint.weights import WeightFiles
from gemcut.config import AudioTowerConfig, ModelConfig, VisionTowerConfig
from gemcut.errors import BadOption
from gemcut.opened import Opened
from gemcut.quant.export import (
    DTYPES,
    FILE_TYPES,
    FORMS,
    KIND_OF_DTYPE,
    QUANTIZATION_VERSION,
    model_name,
    refuse_existing,
)

IMAGE_SIZE = 224  # llama.cpp wants one, and Gemma 4 has none
MEL_BINS = 128
EPSILON = 1e-6
COMPUTED = {  # what llama.cpp computes with, whatever a model's config says
    "pooling_kernel_size": 3,
    "rope_theta": 100.0,
    "rms_norm_eps": EPSILON,
    "attention_chunk_size": 12,
    "attention_context_left": 13,
    "attention_context_right": 0,
    "attention_logit_cap": 50.0,
    "audio_samples_per_token": 640,
    "conv_kernel_size": 5,
    "residual_weight": 0.5,
}
LEAVES = ("weight", "bias", "input_min", "input_max", "output_min", "output_max")
WHOLE = {
    "embed_vision.embedding_projection": "mm.input_projection",
    "vision_tower.patch_embedder.input_proj": "v.patch_embd",
    "vision_tower.patch_embedder.position_embedding_table": "v.position_embd",
    "vision_tower.std_bias": "v.std_bias",
    "vision_tower.std_scale": "v.std_scale",
    "vision_embedder.patch_dense": "v.patch_embd",  # of the 12B
    "vision_embedder.patch_ln1": "v.patch_norm.1",
    "vision_embedder.patch_ln2": "v.patch_norm.2",
    "vision_embedder.pos_norm": "v.patch_norm.3",
    "vision_embedder.pos_embedding": "v.position_embd",
    "embed_audio.embedding_projection": "mm.a.input_projection",
    "audio_tower.output_proj": "a.pre_encode.out",
    "audio_tower.subsample_conv_projection.input_proj_linear": "a.input_projection",
    "audio_tower.subsample_conv_projection.layer0.conv": "a.conv1d.0",
    "audio_tower.subsample_conv_projection.layer0.norm": "a.conv1d.0.norm",
    "audio_tower.subsample_conv_projection.layer1.conv": "a.conv1d.1",
    "audio_tower.subsample_conv_projection.layer1.norm": "a.conv1d.1.norm",
}
VISION_LAYER = {
    "input_layernorm": "ln1",
    "mlp.down_proj": "ffn_down",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "post_attention_layernorm": "attn_post_norm",
    "post_feedforward_layernorm": "ffn_post_norm",
    "pre_feedforward_layernorm": "ln2",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.k_proj": "attn_k",
    "self_attn.o_proj": "attn_out",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.v_proj": "attn_v",
}
AUDIO_LAYER = {
    "feed_forward1.ffw_layer_1": "ffn_up",
    "feed_forward1.ffw_layer_2": "ffn_down",
    "feed_forward1.post_layer_norm": "ffn_post_norm",
    "feed_forward1.pre_layer_norm": "ffn_norm",
    "feed_forward2.ffw_layer_1": "ffn_up_1",
    "feed_forward2.ffw_layer_2": "ffn_down_1",
    "feed_forward2.post_layer_norm": "ffn_post_norm_1",
    "feed_forward2.pre_layer_norm": "ffn_norm_1",
    "lconv1d.conv_norm": "norm_conv",
    "lconv1d.depthwise_conv1d": "conv_dw",
    "lconv1d.linear_end": "conv_pw2",
    "lconv1d.linear_start": "conv_pw1",
    "lconv1d.pre_layer_norm": "conv_norm",
    "norm_out": "ln2",
    "norm_post_attn": "attn_post_norm",
    "norm_pre_attn": "attn_pre_norm",
    "self_attn.k_proj": "attn_k",
    "self_attn.per_dim_scale": "per_dim_scale",
    "self_attn.post": "attn_out",
    "self_attn.q_proj": "attn_q",
    "self_attn.relative_k_proj": "attn_k_rel",
    "self_attn.v_proj": "attn_v",
}
LAYERS = (  # of the vision tower and of the audio tower
    (re.compile(r"vision_tower\.encoder\.layers\.(\d+)\.(.+)"), "v.blk", VISION_LAYER),
    (re.compile(r"audio_tower\.layers\.(\d+)\.(.+)"), "a.blk", AUDIO_LAYER),
)
PARTS = ("vision_tower", "vision_embedder", "embed_vision", "audio_tower", "embed_audio")
BARE = (
    "position_embedding_table",
    "pos_embedding",
    "per_dim_scale",
)  # tensors whose names end without ".weight" on the hub
PATCHES = "v.patch_embd.weight"
ALWAYS_FLOAT32 = ("v.position_embd.weight", "a.input_projection.weight", PATCHES)
CONVOLUTIONS = ("a.conv1d.", "conv_dw.weight")


@dataclass(frozen=True, kw_only=True)
class ExportingMedia:
    """What sees and hears of a checkpoint, on its way into a GGUF file.

    kind: of its matrices, where it is none of blocks; None: each as it is in the checkpoint.
    """

    source: Opened
    kind: GgufKind | None

    def __post_init__(self) -> None:
        """Raises BadOption for a model without eyes and ears, or with some that llama.cpp cannot compute."""
        config = self.source.config
        parts = [part for part in (config.vision, config.audio) if part is not None]
        if not isinstance(self.source.weights, WeightFiles) or not parts:
            raise BadOption(
                f"{self.source.place} has nothing that sees or hears, nor has a GGUF file; leave out --mmproj"
            )
        for part in parts:
            for key, value in COMPUTED.items():
                if getattr(part, key, value) != value:
                    raise BadOption(
                        f"llama.cpp computes with a {key} of {value}, and {self.source.place} has"
                        f" {getattr(part, key)}; leave out --mmproj"
                    )

    def entries(self) -> list[GgufEntry]:
        """What will be written, in the order of the checkpoint's files.

        Raises BadOption for a tensor that llama.cpp has no place for.
        """
        return [self._entry(name) for name in self._names()]

    def pieces(self) -> Iterator[Tensor]:
        """The bytes of the entries in their order, a tensor at a time."""
        kinds = {entry.name: entry.kind for entry in self.entries()}
        for name, tensor in self.source.weights.stream(self._names()):
            yield laid_out(name, tensor).to(DTYPES[kinds[media_name(name)]]).contiguous()

    def pairs(self) -> Mapping[str, Any]:
        """The metadata."""
        config = self.source.config
        own = KIND_OF_DTYPE[getattr(torch, config.dtype)]
        return {
            "general.architecture": "clip",
            "general.type": "mmproj",
            "general.name": model_name(self.source.place),
            "general.file_type": FILE_TYPES[own if self.kind is None or self.kind in FORMS else self.kind],
            "general.quantization_version": QUANTIZATION_VERSION,
            **_vision_pairs(config),
            **_audio_pairs(config),
        }

    def write(self, out: Path, pieces: Iterator[Tensor], *, overwrite: bool) -> None:
        """Write the file; see `Exporting.write`."""
        refuse_existing(out, overwrite)
        write_gguf(out, self.pairs(), self.entries(), pieces)

    def _names(self) -> list[str]:
        starts = tuple(f"model.{part}." for part in PARTS)
        return [name for name in self.source.weights.tensors if name.startswith(starts)]

    def _entry(self, name: str) -> GgufEntry:
        theirs, info = media_name(name), self.source.weights.tensors[name]
        shape = tuple(laid_out(name, torch.empty(info.shape, device="meta")).shape)
        kind = self._kind(theirs, shape, KIND_OF_DTYPE.get(info.dtype, "F32"))
        num_bytes = math.prod(shape) * DTYPES[kind].itemsize
        return GgufEntry(name=theirs, kind=kind, shape=shape, num_bytes=num_bytes)

    def _kind(self, theirs: str, shape: tuple[int, ...], own: GgufKind) -> GgufKind:
        """F32 for what is no matrix, and where llama.cpp computes convolutions; else as was asked for."""
        if theirs == PATCHES and self.kind == "F16":
            return "F16"
        if len(shape) == 1 or theirs in ALWAYS_FLOAT32 or any(part in theirs for part in CONVOLUTIONS):
            return "F32"
        return own if self.kind is None or self.kind in FORMS else self.kind


def media_name(name: str) -> str:
    """What llama.cpp calls a tower's tensor of that hub name.  Raises BadOption for any other."""
    rest = name.removeprefix("model.")
    stem, _, leaf = rest.rpartition(".")
    if rest.endswith(BARE):
        stem, leaf = rest, "weight"
    if leaf in LEAVES and stem.removesuffix(".linear") in WHOLE:
        return f"{WHOLE[stem.removesuffix('.linear')]}.{leaf}"
    if rest in WHOLE:  # std_bias and std_scale
        return WHOLE[rest]
    for pattern, prefix, parts in LAYERS:
        found = pattern.fullmatch(stem.removesuffix(".linear"))
        if found is not None and found[2] in parts and leaf in LEAVES:
            return f"{prefix}.{found[1]}.{parts[found[2]]}.{leaf}"
    raise BadOption(f"llama.cpp has no place for the tensor {name}; export a Gemma 4 of Google's structure")


def laid_out(name: str, tensor: Tensor) -> Tensor:
    """The tensor of that hub name as llama.cpp wants it."""
    if name.endswith("patch_embedder.input_proj.weight"):  # a convolution
        return _channels_first(tensor)
    if name.endswith("vision_embedder.patch_dense.weight"):
        return _channels_first(tensor).flatten(1)
    if "vision_embedder.patch_ln1." in name:
        return _channels_first(tensor[None]).flatten()
    if name.endswith("vision_embedder.pos_embedding"):  # a table for x and one for y
        return tensor.permute(1, 0, 2)
    if name.endswith("depthwise_conv1d.weight"):
        return tensor.reshape(tensor.shape[0], tensor.shape[2])
    if name.endswith("per_dim_scale"):
        return F.softplus(tensor.float())
    return tensor.reshape(1) if tensor.ndim == 0 else tensor


def _channels_first(rows: Tensor) -> Tensor:
    """Values of a patch in rows, (n, y·x·channel) -> (n, channel, y, x)."""
    side = math.isqrt(rows.shape[1] // 3)
    return rows.reshape(len(rows), side, side, 3).permute(0, 3, 1, 2)


def _vision_pairs(config: ModelConfig) -> Mapping[str, Any]:
    vision = config.vision
    if vision is None:
        return {}
    if isinstance(vision, VisionTowerConfig):
        layers, heads = vision.num_hidden_layers, vision.num_attention_heads
        tower = _tower_pairs("vision", vision.hidden_size, vision.intermediate_size, layers, heads)
    else:
        tower = _tower_pairs("vision", vision.mm_embed_dim, 0, 0, 0)
    return {
        "clip.has_vision_encoder": True,
        # The converter leaves this out, and llama.cpp then takes another gelu than Gemma 4's.
        "clip.use_gelu": True,
        "clip.vision.projector_type": "gemma4v" if isinstance(vision, VisionTowerConfig) else "gemma4uv",
        "clip.vision.projection_dim": config.text.hidden_size,
        "clip.vision.image_size": IMAGE_SIZE,
        "clip.vision.patch_size": vision.patch_size,
        **tower,
        "clip.vision.image_mean": [0.0, 0.0, 0.0],
        "clip.vision.image_std": [1.0, 1.0, 1.0],
    }


def _audio_pairs(config: ModelConfig) -> Mapping[str, Any]:
    audio = config.audio
    if audio is None:
        return {}
    if isinstance(audio, AudioTowerConfig):
        layers, heads = audio.num_hidden_layers, audio.num_attention_heads
        tower = _tower_pairs("audio", audio.hidden_size, 4 * audio.hidden_size, layers, heads)
    else:
        tower = _tower_pairs("audio", audio.audio_embed_dim, 0, 0, 0)
    return {
        "clip.has_audio_encoder": True,
        "clip.audio.projector_type": "gemma4a" if isinstance(audio, AudioTowerConfig) else "gemma4ua",
        "clip.audio.projection_dim": config.text.hidden_size,
        **tower,
        "clip.audio.num_mel_bins": MEL_BINS,
    }


def _tower_pairs(part: str, width: int, inner: int, layers: int, heads: int) -> Mapping[str, Any]:
    """Without a tower, as in the 12B, there are no layers."""
    return {
        f"clip.{part}.embedding_length": width,
        f"clip.{part}.feed_forward_length": inner,
        f"clip.{part}.block_count": layers,
        f"clip.{part}.attention.head_count": heads,
        f"clip.{part}.attention.layer_norm_epsilon": EPSILON,
    }
