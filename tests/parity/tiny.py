"""Pairs of models, ours and transformers', with the same random weights in small shapes.

Weights are drawn so that the model is well conditioned and no norm, scale or scalar is neutral: code that
forgets one gives other logits.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from transformers import Gemma4ForCausalLM, Gemma4TextConfig

from gemcut.config import ExpertsConfig, MediaTokens, ModelConfig, Rope, TextConfig
from gemcut.engine.naive import generate
from gemcut.engine.sampling_params import Sampling
from gemcut.engine.stop_conditions import StopConditions
from gemcut.model.gemma4 import Gemma4

SLIDING, FULL = "sliding_attention", "full_attention"

EDGE = TextConfig(
    vocab_size=320,
    hidden_size=48,
    intermediate_size=64,
    layer_types=(SLIDING, SLIDING, FULL, SLIDING, FULL, SLIDING, FULL),
    num_attention_heads=4,
    num_key_value_heads=1,
    num_global_key_value_heads=1,
    head_dim=16,
    global_head_dim=32,
    sliding_window=24,
    attention_k_eq_v=False,
    num_kv_shared_layers=3,
    use_double_wide_mlp=True,
    hidden_size_per_layer_input=8,
    vocab_size_per_layer_input=320,
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
DENSE = replace(
    EDGE,
    num_kv_shared_layers=0,
    use_double_wide_mlp=False,
    hidden_size_per_layer_input=0,
    attention_k_eq_v=True,
    num_attention_heads=8,
    num_key_value_heads=4,
    num_global_key_value_heads=2,
    bidirectional_images=True,
)
EXPERTS = ExpertsConfig(num_experts=16, top_k_experts=4, moe_intermediate_size=24)

TINY = {
    "e2b": EDGE,
    "e4b": replace(EDGE, use_double_wide_mlp=False, num_key_value_heads=2, num_global_key_value_heads=2),
    "12b": replace(DENSE, num_global_key_value_heads=1),
    "26b": replace(DENSE, experts=EXPERTS, intermediate_size=40),
    "31b": DENSE,
}
ODD = {
    "one layer shared": replace(EDGE, num_kv_shared_layers=1),
    "a window of 1": replace(EDGE, sliding_window=1),
    "a window of 3": replace(DENSE, sliding_window=3),
    "all heads their own keys": replace(EDGE, num_key_value_heads=4, num_global_key_value_heads=4),
    "only full attention": replace(DENSE, layer_types=(FULL, FULL)),
    "every fraction of rotation": replace(EDGE, global_rope=Rope(theta=10_000.0, rotated=0.5)),
}


def model_config(text: TextConfig) -> ModelConfig:
    """A whole model's config around a decoder's, without towers."""
    tokens = MediaTokens(
        image=10, begin_image=11, end_image=12, audio=13, begin_audio=14, end_audio=15, video=16
    )
    return ModelConfig(
        text=text, vision=None, audio=None, media_tokens=tokens, soft_tokens_per_image=280, dtype="float32"
    )


def their_config(text: TextConfig) -> Gemma4TextConfig:
    """The config of transformers with the same numbers, written as the hub writes it."""
    experts = text.experts
    return Gemma4TextConfig(
        vocab_size=text.vocab_size,
        hidden_size=text.hidden_size,
        intermediate_size=text.intermediate_size,
        num_hidden_layers=text.num_hidden_layers,
        layer_types=list(text.layer_types),
        num_attention_heads=text.num_attention_heads,
        num_key_value_heads=text.num_key_value_heads,
        num_global_key_value_heads=text.num_global_key_value_heads if text.attention_k_eq_v else None,
        head_dim=text.head_dim,
        global_head_dim=text.global_head_dim,
        sliding_window=text.sliding_window,
        attention_k_eq_v=text.attention_k_eq_v,
        num_kv_shared_layers=text.num_kv_shared_layers,
        use_double_wide_mlp=text.use_double_wide_mlp,
        hidden_size_per_layer_input=text.hidden_size_per_layer_input,
        vocab_size_per_layer_input=text.vocab_size_per_layer_input,
        enable_moe_block=experts is not None,
        num_experts=None if experts is None else experts.num_experts,
        top_k_experts=None if experts is None else experts.top_k_experts,
        moe_intermediate_size=None if experts is None else experts.moe_intermediate_size,
        use_bidirectional_attention="vision" if text.bidirectional_images else None,
        rope_parameters={
            SLIDING: {"rope_theta": text.local_rope.theta, "rope_type": "default"},
            FULL: {
                "rope_theta": text.global_rope.theta,
                "rope_type": "proportional",
                "partial_rotary_factor": text.global_rope.rotated,
            },
        },
        final_logit_softcapping=text.final_logit_softcapping,
        rms_norm_eps=text.rms_norm_eps,
        max_position_embeddings=text.max_position_embeddings,
        pad_token_id=text.pad_token_id,
        bos_token_id=text.bos_token_id,
        eos_token_id=text.eos_token_id,
        hidden_activation="gelu_pytorch_tanh",
        attention_bias=False,
        tie_word_embeddings=True,
    )


def draw(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """A random float32 tensor that suits what the name says it is."""
    noise = torch.randn(shape, generator=generator)
    if name.endswith("layer_scalar"):
        return 0.9 + 0.2 * torch.rand(shape, generator=generator)
    if name.endswith(
        "q_norm.weight"
    ):  # the attention scale is 1, so a trained q_norm holds 1/sqrt(head width)
        return (1 + 0.2 * noise) * shape[0] ** -0.5
    if "post_" in name and "norm" in name:
        return 0.3 * (1 + 0.2 * noise)
    if "norm" in name or name.endswith(("per_expert_scale", "router.scale")):
        return 1 + 0.2 * noise
    return noise * shape[-1] ** -0.5


def fill(model: torch.nn.Module, seed: int) -> None:
    """Give every parameter and buffer of a model its random values."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if name != "lm_head.weight":
            tensor.copy_(draw(name, tensor.shape, generator))


def pair(
    text: TextConfig, seed: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[Gemma4, Gemma4ForCausalLM]:
    """Our model and theirs, with the same weights."""
    theirs = Gemma4ForCausalLM(their_config(text)).to(dtype).eval()
    fill(theirs, seed)
    ours = Gemma4(model_config(text)).to(dtype).eval()
    state = {
        name.replace("model.", "model.language_model.", 1): tensor
        for name, tensor in theirs.state_dict().items()
        if name != "lm_head.weight"
    }
    ours.load_state_dict(state, strict=True)
    return ours.requires_grad_(False), theirs


def greedy(model: Gemma4, prompt_ids: Sequence[int], count: int, soft: Tensor | None = None) -> list[int]:
    """The naive loop's `count` likeliest tokens, one after another."""
    media = torch.empty(0, 1) if soft is None else soft
    stops = StopConditions(max_tokens=count)
    return [token.id for token in generate(model, prompt_ids, media, Sampling(temperature=0), stops)]
