"""The numbers of a model, frozen and total: no field has a default.

`checkpoint.config_file` reads them from config.json; `dataclasses.replace` changes them.
Field names are those of the hub's config.json wherever the meaning is the same.
"""

from dataclasses import dataclass
from typing import Literal

AttentionKind = Literal["sliding_attention", "full_attention"]
BlockForm = Literal["int4", "int8"]  # blocks of 32 values with a scale each: Q4_0 and Q8_0 of GGUF


@dataclass(frozen=True, kw_only=True)
class Rope:
    """Rotary position embedding of one kind of layer.

    theta: base of the frequencies.  rotated: the share of a head's width that is rotated, 1.0 for all of it.
    """

    theta: float
    rotated: float


@dataclass(frozen=True, kw_only=True)
class ExpertsConfig:
    """The mixture of experts that runs beside the dense feed-forward (26B-A4B)."""

    num_experts: int
    top_k_experts: int
    moe_intermediate_size: int


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """The text decoder."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layer_types: tuple[AttentionKind, ...]
    num_attention_heads: int
    num_key_value_heads: int  # of sliding layers
    num_global_key_value_heads: int  # of full-attention layers
    head_dim: int  # of sliding layers
    global_head_dim: int  # of full-attention layers
    sliding_window: int  # tokens a sliding layer sees, the token itself included
    attention_k_eq_v: bool  # full-attention layers have no v_proj: V is the normalised output of k_proj
    num_kv_shared_layers: int  # the last n layers reuse the K and V of an earlier layer of their kind; all
    # layers in a drafter, which reads its target's
    use_double_wide_mlp: bool  # the shared layers' feed-forward is twice as wide
    hidden_size_per_layer_input: int  # width of the per-layer embeddings, 0 without them
    vocab_size_per_layer_input: int  # rows of the per-layer table; meaningless without it
    experts: ExpertsConfig | None
    bidirectional_images: bool  # sliding layers see a whole image at once
    local_rope: Rope
    global_rope: Rope
    final_logit_softcapping: float | None  # None: logits are not capped (drafters)
    rms_norm_eps: float
    max_position_embeddings: int
    pad_token_id: int
    bos_token_id: int
    eos_token_id: int

    @property
    def num_hidden_layers(self) -> int:
        """How many layers there are."""
        return len(self.layer_types)

    @property
    def first_shared_layer(self) -> int:
        """Index of the first layer that reuses earlier K and V; the number of layers where none does."""
        return self.num_hidden_layers - self.num_kv_shared_layers


@dataclass(frozen=True, kw_only=True)
class VisionTowerConfig:
    """The vision transformer of E2B, E4B, 26B and 31B."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    head_dim: int
    patch_size: int
    pooling_kernel_size: int
    position_embedding_size: int
    rope_theta: float
    rms_norm_eps: float
    standardize: bool
    use_clipped_linears: bool


@dataclass(frozen=True, kw_only=True)
class VisionPatchConfig:
    """The 12B's vision input without a tower: patches are projected straight into the decoder."""

    mm_embed_dim: int
    mm_posemb_size: int
    output_proj_dims: int
    patch_size: int
    pooling_kernel_size: int
    rms_norm_eps: float


@dataclass(frozen=True, kw_only=True)
class AudioTowerConfig:
    """The conformer of E2B and E4B."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    attention_chunk_size: int
    attention_context_left: int
    attention_context_right: int
    attention_logit_cap: float
    attention_invalid_logits_value: float
    conv_kernel_size: int
    subsampling_conv_channels: tuple[int, int]
    output_proj_dims: int
    residual_weight: float
    gradient_clipping: float
    rms_norm_eps: float
    use_clipped_linears: bool


@dataclass(frozen=True, kw_only=True)
class AudioFrameConfig:
    """The 12B's audio input without a tower: raw frames are projected straight into the decoder."""

    audio_embed_dim: int
    audio_samples_per_token: int
    output_proj_dims: int
    rms_norm_eps: float


@dataclass(frozen=True, kw_only=True)
class MediaTokens:
    """Ids that stand for images, audio and video in a prompt."""

    image: int
    begin_image: int
    end_image: int
    audio: int
    begin_audio: int
    end_audio: int
    video: int


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A whole model."""

    text: TextConfig
    vision: VisionTowerConfig | VisionPatchConfig | None
    audio: AudioTowerConfig | AudioFrameConfig | None
    media_tokens: MediaTokens
    soft_tokens_per_image: int
    dtype: Literal["bfloat16", "float16", "float32"]  # of the weights on disk


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """Which of a checkpoint's weights are kept in blocks, and in which; None leaves them as they are.

    Norms, scalars, routers and towers always stay, and so do matrices whose rows are no multiple of 32.
    """

    projections: BlockForm | None  # of attention and feed-forwards, experts and per-layer inputs too
    embedding: BlockForm | None  # which is the output head too
    per_layer_table: BlockForm | None


@dataclass(frozen=True, kw_only=True)
class QuantizedConfig:
    """What config.json says of a model of which some weights are in blocks."""

    model: ModelConfig
    quantization: Quantization


@dataclass(frozen=True, kw_only=True)
class ClustersConfig:
    """The clusters that a drafter's output head chooses among before it looks at tokens (E2B, E4B)."""

    num_centroids: int
    centroid_intermediate_top_k: int  # clusters whose tokens are looked at


@dataclass(frozen=True, kw_only=True)
class DrafterConfig:
    """An assistant model, which drafts tokens for one target model and reads that model's K and V."""

    text: TextConfig
    backbone_hidden_size: int  # the target's hidden_size
    clusters: ClustersConfig | None
    dtype: Literal["bfloat16", "float16", "float32"]  # of the weights on disk


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """What generation_config.json says: when to stop, and how to sample where the user does not say."""

    stop_ids: tuple[int, ...]
    suppress_ids: tuple[int, ...]  # never produced
    do_sample: bool
    temperature: float
    top_k: int  # 0 for no limit
    top_p: float
    min_p: float
    repetition_penalty: float
