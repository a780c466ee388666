"""The vision and audio numbers in config.json, read and written: towers, and the 12B's plain projections."""

from typing import Any

from gemcut.checkpoint.section import Section
from gemcut.checkpoint.text_section import ignore_marks
from gemcut.config import (
    AudioFrameConfig,
    AudioTowerConfig,
    MediaTokens,
    VisionPatchConfig,
    VisionTowerConfig,
)

TOKEN_KEYS = {  # field of MediaTokens: key of config.json
    "image": "image_token_id",
    "begin_image": "boi_token_id",
    "end_image": "eoi_token_id",
    "audio": "audio_token_id",
    "begin_audio": "boa_token_id",
    "end_audio": "eoa_token_index",
    "video": "video_token_id",
}


def read_vision_tower(section: Section) -> VisionTowerConfig:
    """The vision transformer of E2B, E4B, 26B and 31B.  Raises BadConfig."""
    section.one_of("model_type", "gemma4_vision")
    section.one_of("hidden_activation", "gelu_pytorch_tanh")
    section.expect(attention_bias=(False, None), attention_dropout=(0, 0.0, None))
    section.ignore("default_output_length", "max_position_embeddings")
    rope = section.child("rope_parameters")
    rope.one_of("rope_type", "default", "axial")  # 5.23 gives the same mathematics a name of its own
    config = VisionTowerConfig(
        hidden_size=section.integer("hidden_size"),
        intermediate_size=section.integer("intermediate_size"),
        num_hidden_layers=section.integer("num_hidden_layers"),
        num_attention_heads=section.integer("num_attention_heads"),
        head_dim=section.integer("head_dim"),
        patch_size=section.integer("patch_size"),
        pooling_kernel_size=section.integer("pooling_kernel_size"),
        position_embedding_size=section.integer("position_embedding_size"),
        rope_theta=rope.positive("rope_theta"),
        rms_norm_eps=section.positive("rms_norm_eps"),
        standardize=section.flag("standardize"),
        use_clipped_linears=section.flag("use_clipped_linears"),
    )
    section.expect(num_key_value_heads=(config.num_attention_heads,), global_head_dim=(config.head_dim,))
    rope.close()
    ignore_marks(section)
    section.close()
    return config


def vision_tower_json(config: VisionTowerConfig) -> dict[str, Any]:
    """The section that `read_vision_tower` reads."""
    return {
        "model_type": "gemma4_vision",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "head_dim": config.head_dim,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_attention_heads": config.num_attention_heads,
        "num_hidden_layers": config.num_hidden_layers,
        "num_key_value_heads": config.num_attention_heads,
        "patch_size": config.patch_size,
        "pooling_kernel_size": config.pooling_kernel_size,
        "position_embedding_size": config.position_embedding_size,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_parameters": {"rope_theta": config.rope_theta, "rope_type": "default"},
        "standardize": config.standardize,
        "use_clipped_linears": config.use_clipped_linears,
    }


def read_vision_patches(section: Section, soft_tokens: int) -> VisionPatchConfig:
    """The 12B's projection of patches; soft_tokens: how many an image has at most.  Raises BadConfig."""
    section.one_of("model_type", "gemma4_unified_vision")
    config = VisionPatchConfig(
        mm_embed_dim=section.integer("mm_embed_dim"),
        mm_posemb_size=section.integer("mm_posemb_size"),
        output_proj_dims=section.integer("output_proj_dims"),
        patch_size=section.integer("patch_size"),
        pooling_kernel_size=section.integer("pooling_kernel_size"),
        rms_norm_eps=section.positive("rms_norm_eps"),
    )
    section.expect(model_patch_size=(config.patch_size * config.pooling_kernel_size,))
    section.expect(num_soft_tokens=(soft_tokens,))
    ignore_marks(section)
    section.close()
    return config


def vision_patches_json(config: VisionPatchConfig, soft_tokens: int) -> dict[str, Any]:
    """The section that `read_vision_patches` reads."""
    return {
        "model_type": "gemma4_unified_vision",
        "mm_embed_dim": config.mm_embed_dim,
        "mm_posemb_size": config.mm_posemb_size,
        "model_patch_size": config.patch_size * config.pooling_kernel_size,
        "num_soft_tokens": soft_tokens,
        "output_proj_dims": config.output_proj_dims,
        "patch_size": config.patch_size,
        "pooling_kernel_size": config.pooling_kernel_size,
        "rms_norm_eps": config.rms_norm_eps,
    }


def read_audio_tower(section: Section) -> AudioTowerConfig:
    """The conformer of E2B and E4B.  Raises BadConfig."""
    section.one_of("model_type", "gemma4_audio")
    section.one_of("hidden_act", "silu")
    channels = section.integers("subsampling_conv_channels", at_least=1)
    if len(channels) != 2:
        section.fail("subsampling_conv_channels", f"is {list(channels)} and must be two whole numbers")
    config = AudioTowerConfig(
        hidden_size=section.integer("hidden_size"),
        num_hidden_layers=section.integer("num_hidden_layers"),
        num_attention_heads=section.integer("num_attention_heads"),
        attention_chunk_size=section.integer("attention_chunk_size"),
        attention_context_left=section.integer("attention_context_left"),
        attention_context_right=section.integer("attention_context_right", at_least=0),
        attention_logit_cap=section.positive("attention_logit_cap"),
        attention_invalid_logits_value=section.number("attention_invalid_logits_value"),
        conv_kernel_size=section.integer("conv_kernel_size"),
        subsampling_conv_channels=(channels[0], channels[1]),
        output_proj_dims=section.integer("output_proj_dims"),
        residual_weight=section.number("residual_weight"),
        gradient_clipping=section.positive("gradient_clipping"),
        rms_norm_eps=section.positive("rms_norm_eps"),
        use_clipped_linears=section.flag("use_clipped_linears"),
    )
    ignore_marks(section)
    section.close()
    return config


def audio_tower_json(config: AudioTowerConfig) -> dict[str, Any]:
    """The section that `read_audio_tower` reads."""
    return {
        "model_type": "gemma4_audio",
        "attention_chunk_size": config.attention_chunk_size,
        "attention_context_left": config.attention_context_left,
        "attention_context_right": config.attention_context_right,
        "attention_invalid_logits_value": config.attention_invalid_logits_value,
        "attention_logit_cap": config.attention_logit_cap,
        "conv_kernel_size": config.conv_kernel_size,
        "gradient_clipping": config.gradient_clipping,
        "hidden_act": "silu",
        "hidden_size": config.hidden_size,
        "num_attention_heads": config.num_attention_heads,
        "num_hidden_layers": config.num_hidden_layers,
        "output_proj_dims": config.output_proj_dims,
        "residual_weight": config.residual_weight,
        "rms_norm_eps": config.rms_norm_eps,
        "subsampling_conv_channels": list(config.subsampling_conv_channels),
        "use_clipped_linears": config.use_clipped_linears,
    }


def read_audio_frames(section: Section) -> AudioFrameConfig:
    """The 12B's projection of frames of samples.  Raises BadConfig.

    The hub writes one number under four keys, transformers only under the first.
    """
    section.one_of("model_type", "gemma4_unified_audio")
    width = section.integer("audio_embed_dim")
    section.expect(audio_samples_per_token=(width,), output_proj_dims=(width,), hidden_size=(width,))
    config = AudioFrameConfig(
        audio_embed_dim=width,
        audio_samples_per_token=width,
        output_proj_dims=width,
        rms_norm_eps=section.positive("rms_norm_eps"),
    )
    ignore_marks(section)
    section.close()
    return config


def audio_frames_json(config: AudioFrameConfig) -> dict[str, Any]:
    """The section that `read_audio_frames` reads."""
    return {
        "model_type": "gemma4_unified_audio",
        "audio_embed_dim": config.audio_embed_dim,
        "audio_samples_per_token": config.audio_samples_per_token,
        "hidden_size": config.audio_embed_dim,
        "output_proj_dims": config.output_proj_dims,
        "rms_norm_eps": config.rms_norm_eps,
    }


def read_media_tokens(section: Section) -> MediaTokens:
    """The ids of placeholders, from the outermost section, which the caller closes.  Raises BadConfig."""
    tokens = MediaTokens(**{field: section.integer(key, at_least=0) for field, key in TOKEN_KEYS.items()})
    section.expect(eoa_token_id=(tokens.end_audio,))
    return tokens


def media_tokens_json(tokens: MediaTokens) -> dict[str, int]:
    """The keys that `read_media_tokens` reads."""
    return {key: getattr(tokens, field) for field, key in TOKEN_KEYS.items()}
