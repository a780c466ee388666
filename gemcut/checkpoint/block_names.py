"""Which tensors of a model a quantisation is about."""

from gemcut.config import BlockForm, Quantization

DECODER = "model.language_model."
EMBEDDING = f"{DECODER}embed_tokens.weight"
PER_LAYER_TABLE = f"{DECODER}embed_tokens_per_layer.weight"
# Of a decoder layer.  Not of them: routers, which decide between experts, and the projection of the main
# embedding to per-layer inputs, which is small and whose results go into every layer; nor does llama.cpp.
PROJECTIONS = (
    "self_attn.q_proj.weight",
    "self_attn.k_proj.weight",
    "self_attn.v_proj.weight",
    "self_attn.o_proj.weight",
    "mlp.gate_proj.weight",
    "mlp.up_proj.weight",
    "mlp.down_proj.weight",
    "per_layer_input_gate.weight",
    "per_layer_projection.weight",
    "experts.gate_up_proj",
    "experts.down_proj",
)


def form_of(name: str, quantization: Quantization) -> BlockForm | None:
    """What the quantisation has in mind for the tensor of that name, if its rows fit into blocks."""
    if name == EMBEDDING:
        return quantization.embedding
    if name == PER_LAYER_TABLE:
        return quantization.per_layer_table
    in_layer = name.startswith(f"{DECODER}layers.") and name.endswith(PROJECTIONS)
    return quantization.projections if in_layer else None
