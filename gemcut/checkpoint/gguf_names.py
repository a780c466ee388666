"""What llama.cpp calls the tensors of its architecture gemma4, and what the hub calls them.

Source: llama.cpp, src/models/gemma4.cpp and gguf-py/gguf/tensor_mapping.py, as in llama-cpp-python 0.3.36.
"""

import re

from gemcut.checkpoint.block_names import DECODER
from gemcut.errors import BadOption

ROPE_FACTORS = "rope_freqs.weight"  # of the full-attention layers: 1 for pairs that are rotated, else 1e30
HEAD = "output.weight"  # only where the output head is not the embedding
FUSED = re.compile(r"blk\.(\d{1,4})\.attn_qkv\.weight")  # rows of q, then k, then v
WHOLE = {
    "embed_tokens.weight": "token_embd.weight",
    "embed_tokens_per_layer.weight": "per_layer_token_embd.weight",
    "norm.weight": "output_norm.weight",
    "per_layer_model_projection.weight": "per_layer_model_proj.weight",
    "per_layer_projection_norm.weight": "per_layer_proj_norm.weight",
}
IN_LAYER = {
    "experts.down_proj": "ffn_down_exps.weight",
    "experts.gate_up_proj": "ffn_gate_up_exps.weight",
    "input_layernorm.weight": "attn_norm.weight",
    "layer_scalar": "layer_output_scale.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "per_layer_input_gate.weight": "inp_gate.weight",
    "per_layer_projection.weight": "proj.weight",
    "post_attention_layernorm.weight": "post_attention_norm.weight",
    "post_feedforward_layernorm.weight": "post_ffw_norm.weight",
    "post_feedforward_layernorm_1.weight": "post_ffw_norm_1.weight",
    "post_feedforward_layernorm_2.weight": "post_ffw_norm_2.weight",
    "post_per_layer_input_norm.weight": "post_norm.weight",
    "pre_feedforward_layernorm.weight": "ffn_norm.weight",
    "pre_feedforward_layernorm_2.weight": "pre_ffw_norm_2.weight",
    "router.per_expert_scale": "ffn_down_exps.scale",
    "router.proj.weight": "ffn_gate_inp.weight",
    "router.scale": "ffn_gate_inp.scale",
    "self_attn.k_norm.weight": "attn_k_norm.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
}
OURS = {theirs: ours for ours, theirs in WHOLE.items()}
OURS_IN_LAYER = {theirs: ours for ours, theirs in IN_LAYER.items()}


def hub_name(name: str) -> str | None:
    """The hub's name of a tensor in a GGUF file; None for one that gemma4 does not have."""
    if name in OURS:
        return DECODER + OURS[name]
    found = re.fullmatch(r"blk\.(\d+)\.(.+)", name)
    if found is None or found[2] not in OURS_IN_LAYER:
        return None
    return f"{DECODER}layers.{found[1]}.{OURS_IN_LAYER[found[2]]}"


def gguf_name(name: str) -> str:
    """What a GGUF file calls the decoder's tensor of that hub name.  Raises BadOption for any other."""
    rest = name.removeprefix(DECODER)
    if rest in WHOLE:
        return WHOLE[rest]
    found = re.fullmatch(r"layers\.(\d+)\.(.+)", rest)
    if found is None or found[2] not in IN_LAYER:
        raise BadOption(
            f"llama.cpp has no place for the tensor {name}; export a Gemma 4 of Google's structure"
        )
    return f"blk.{found[1]}.{IN_LAYER[found[2]]}"
