"""Configs of small models, for the tests of files."""

from dataclasses import replace

from gemcut.config import (
    AudioFrameConfig,
    AudioTowerConfig,
    ExpertsConfig,
    MediaTokens,
    ModelConfig,
    Rope,
    TextConfig,
    VisionPatchConfig,
    VisionTowerConfig,
)

EDGE_TEXT = TextConfig(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=48,
    layer_types=("sliding_attention", "full_attention", "sliding_attention", "full_attention"),
    num_attention_heads=4,
    num_key_value_heads=2,
    num_global_key_value_heads=2,
    head_dim=8,
    global_head_dim=16,
    sliding_window=24,
    attention_k_eq_v=False,
    num_kv_shared_layers=2,
    use_double_wide_mlp=True,
    hidden_size_per_layer_input=4,
    vocab_size_per_layer_input=60,
    experts=None,
    bidirectional_images=False,
    local_rope=Rope(theta=10_000.0, rotated=1.0),
    global_rope=Rope(theta=1_000_000.0, rotated=0.25),
    final_logit_softcapping=30.0,
    rms_norm_eps=1e-6,
    max_position_embeddings=4096,
    pad_token_id=0,
    bos_token_id=2,
    eos_token_id=1,
)
BIG_TEXT = replace(
    EDGE_TEXT,
    num_global_key_value_heads=1,
    attention_k_eq_v=True,
    num_kv_shared_layers=0,
    use_double_wide_mlp=False,
    hidden_size_per_layer_input=0,
    bidirectional_images=True,
)
EXPERTS_TEXT = replace(
    BIG_TEXT, experts=ExpertsConfig(num_experts=8, top_k_experts=2, moe_intermediate_size=12)
)
VISION_TOWER = VisionTowerConfig(
    hidden_size=48,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=3,
    head_dim=16,
    patch_size=16,
    pooling_kernel_size=3,
    position_embedding_size=1120,
    rope_theta=100.0,
    rms_norm_eps=1e-6,
    standardize=True,
    use_clipped_linears=True,
)
AUDIO_TOWER = AudioTowerConfig(
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    attention_chunk_size=12,
    attention_context_left=13,
    attention_context_right=0,
    attention_logit_cap=50.0,
    attention_invalid_logits_value=-1e9,
    conv_kernel_size=5,
    subsampling_conv_channels=(128, 8),
    output_proj_dims=48,
    residual_weight=0.5,
    gradient_clipping=1e10,
    rms_norm_eps=1e-6,
    use_clipped_linears=True,
)
VISION_PATCHES = VisionPatchConfig(
    mm_embed_dim=32,
    mm_posemb_size=1120,
    output_proj_dims=32,
    patch_size=16,
    pooling_kernel_size=3,
    rms_norm_eps=1e-6,
)
AUDIO_FRAMES = AudioFrameConfig(
    audio_embed_dim=640, audio_samples_per_token=640, output_proj_dims=640, rms_norm_eps=1e-6
)
TOKENS = MediaTokens(image=10, begin_image=11, end_image=12, audio=13, begin_audio=14, end_audio=15, video=16)

EDGE = ModelConfig(
    text=EDGE_TEXT,
    vision=VISION_TOWER,
    audio=AUDIO_TOWER,
    media_tokens=TOKENS,
    soft_tokens_per_image=280,
    dtype="bfloat16",
)
TEXT_ONLY = replace(EDGE, vision=None, audio=None, dtype="float32")
BIG = replace(EDGE, text=BIG_TEXT, audio=None)
EXPERTS = replace(EDGE, text=EXPERTS_TEXT, audio=None)
UNIFIED_TEXT = replace(BIG_TEXT, vocab_size_per_layer_input=BIG_TEXT.vocab_size)
UNIFIED = replace(EDGE, text=UNIFIED_TEXT, vision=VISION_PATCHES, audio=AUDIO_FRAMES)
MODELS = {"edge": EDGE, "text only": TEXT_ONLY, "big": BIG, "experts": EXPERTS, "unified": UNIFIED}
