"""The decoder's tensors and their shapes, from the config alone: what `TextModel` holds, known without torch.

tests/model/test_text_tensors.py compares them with the module's and with the hub's lists.
"""

from gemcut.checkpoint.block_names import DECODER
from gemcut.config import TextConfig
from gemcut.model.layer_plan import LayerSpec, plan_layers

Shape = tuple[int, ...]


def text_tensors(config: TextConfig) -> dict[str, Shape]:
    """The shape of each tensor, by its name in a checkpoint; without K and V of layers that reuse others'."""
    width, per_layer = config.hidden_size, config.hidden_size_per_layer_input
    shapes: dict[str, Shape] = {"embed_tokens.weight": (config.vocab_size, width), "norm.weight": (width,)}
    if per_layer:
        inner = config.num_hidden_layers * per_layer
        shapes |= {
            "embed_tokens_per_layer.weight": (config.vocab_size_per_layer_input, inner),
            "per_layer_model_projection.weight": (inner, width),
            "per_layer_projection_norm.weight": (per_layer,),
        }
    for spec in plan_layers(config):
        parts = _attention(config, spec) | _feed_forward(config, spec) | _rest(config)
        shapes |= {f"layers.{spec.index}.{name}": shape for name, shape in parts.items()}
    return {f"{DECODER}{name}": shape for name, shape in shapes.items()}


def _attention(config: TextConfig, spec: LayerSpec) -> dict[str, Shape]:
    width, inner, kv_inner = (
        config.hidden_size,
        spec.num_heads * spec.head_dim,
        spec.num_kv_heads * spec.head_dim,
    )
    shapes: dict[str, Shape] = {
        "q_proj.weight": (inner, width),
        "q_norm.weight": (spec.head_dim,),
        "o_proj.weight": (width, inner),
    }
    if spec.owns_kv:
        shapes |= {"k_proj.weight": (kv_inner, width), "k_norm.weight": (spec.head_dim,)}
    if spec.owns_kv and spec.has_v_proj:
        shapes["v_proj.weight"] = (kv_inner, width)
    return {f"self_attn.{name}": shape for name, shape in shapes.items()}


def _feed_forward(config: TextConfig, spec: LayerSpec) -> dict[str, Shape]:
    width, inner, experts = config.hidden_size, spec.intermediate_size, spec.experts
    shapes: dict[str, Shape] = {
        "mlp.gate_proj.weight": (inner, width),
        "mlp.up_proj.weight": (inner, width),
        "mlp.down_proj.weight": (width, inner),
    }
    if experts is not None:
        number, each = experts.num_experts, experts.moe_intermediate_size
        shapes |= {
            "router.proj.weight": (number, width),
            "router.scale": (width,),
            "router.per_expert_scale": (number,),
            "experts.gate_up_proj": (number, 2 * each, width),
            "experts.down_proj": (number, width, each),
            "post_feedforward_layernorm_1.weight": (width,),
            "post_feedforward_layernorm_2.weight": (width,),
            "pre_feedforward_layernorm_2.weight": (width,),
        }
    return shapes


def _rest(config: TextConfig) -> dict[str, Shape]:
    """Norms, the layer's scalar, and its part of the per-layer embeddings."""
    width, per_layer = config.hidden_size, config.hidden_size_per_layer_input
    shapes: dict[str, Shape] = {
        "input_layernorm.weight": (width,),
        "post_attention_layernorm.weight": (width,),
        "pre_feedforward_layernorm.weight": (width,),
        "post_feedforward_layernorm.weight": (width,),
        "layer_scalar": (1,),
    }
    if per_layer:
        shapes |= {
            "per_layer_input_gate.weight": (per_layer, width),
            "per_layer_projection.weight": (width, per_layer),
            "post_per_layer_input_norm.weight": (width,),
        }
    return shapes
