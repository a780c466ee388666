"""A start from which copying is learnt at once: an induction circuit planted in random weights.

A model that is to repeat what it has read (a name, a value) must find the place where the current token stood before
and say what followed it.  Two attention layers do that: in a sliding layer every token takes up the token before it;
in a full-attention layer every token looks for one that has taken up its like.  From random weights small models find
this after hundreds of updates, all of a sudden (Olsson and others, "In-context Learning and Induction Heads", 2022);
here it is drawn into the first weights, and training refines it.

Letters: C model width, D head width, K key/value heads.
"""

import torch
from torch import Tensor

from gemcut.model.attention import Attention
from gemcut.model.gemma4 import Gemma4
from gemcut.model.math import inverse_frequencies

CONSTANT = 4.0  # size of the one dimension that is the same for every token, where the others' is 1
OFFSETS = (1, 2, 1, 3)  # how far back the heads of the sliding layer look
SHARPNESS = 4.0  # of the sliding layer's queries, where 1 is a spread of 1 of the scores
NOISE = 0.1  # share of the first random weights that is kept where the circuit is planted


@torch.no_grad()
def plant_copying(model: Gemma4, seed: int) -> None:
    """Plants the circuit into the first sliding layer and the full-attention layers that own K and V.

    The model is initialised already.
    """
    text = model.model.language_model
    width = text.config.hidden_size
    layers = [layer for layer in text.layers if layer.self_attn.spec.owns_kv]
    sliding = next(layer for layer in layers if layer.spec.kind == "sliding_attention")
    full = [
        layer
        for layer in layers
        if layer.spec.kind == "full_attention" and layer.spec.index > sliding.spec.index
    ]
    size = sliding.spec.head_dim
    random = torch.randn(width, width, generator=torch.Generator().manual_seed(seed))
    random[0], random[:, 0] = 0, 0
    random[0, 0] = 1
    basis = torch.linalg.qr(random).Q.T  # rows: orthonormal directions, the first one the constant
    taken, read = (
        basis[1 : 1 + size],
        basis[1 + size : 1 + 2 * size],
    )  # (D, C) each: where the token before lies; what is matched
    table = text.embed_tokens.weight  # (V, C)
    table -= table @ taken.T @ taken
    table *= table.new_tensor(width).rsqrt() * width**0.5 / table.norm(dim=1, keepdim=True)
    table[:, 0] = CONSTANT * width**-0.5
    _take_up_the_token_before(sliding.self_attn, read, taken)
    sliding.post_attention_layernorm.weight.fill_(1.0)
    for layer in full:
        _find_its_like(layer.self_attn, read, taken, basis[1 + 2 * size :])
        layer.post_attention_layernorm.weight.fill_(1.0)


def _take_up_the_token_before(attention: Attention, read: Tensor, taken: Tensor) -> None:
    """Heads that look at fixed distances; the first writes what `read` sees of the token before into `taken`."""
    spec = attention.spec
    size, half = spec.head_dim, spec.head_dim // 2
    angles = inverse_frequencies(spec.rope, size, read.device)[:4]  # the fastest pairs tell neighbours apart
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj):
        projection.weight.mul_(NOISE)
    for head in range(spec.num_heads):
        distance = OFFSETS[head % len(OFFSETS)]
        row = head * size
        attention.q_proj.weight[row : row + 4, 0] += (distance * angles).cos()
        attention.q_proj.weight[row + half : row + half + 4, 0] -= (distance * angles).sin()
    for head in range(spec.num_kv_heads):
        row = head * size
        attention.k_proj.weight[row : row + 4, 0] += 1.0
    attention.v_proj.weight[:size] += read
    attention.o_proj.weight[:, :size] += taken.T
    attention.q_norm.weight.mul_(SHARPNESS)


def _find_its_like(attention: Attention, read: Tensor, taken: Tensor, rest: Tensor) -> None:
    """The first two heads match a token with the tokens that others took up, and say the token found."""
    spec = attention.spec
    still = (
        spec.head_dim // 2 - len(read) // 2
    )  # dimensions that do not turn with the position: the last of each half
    places = torch.cat(
        [torch.arange(len(read) // 2) + still, torch.arange(len(read) // 2) + still + spec.head_dim // 2]
    )
    for projection in (attention.k_proj, attention.v_proj):
        projection.weight.mul_(NOISE)
    attention.k_proj.weight[places] += taken
    said = torch.cat([read, rest])[: spec.head_dim]
    attention.v_proj.weight[: len(said)] += said
    for head in range(min(2, spec.num_heads)):
        row = head * spec.head_dim
        attention.q_proj.weight[row : row + spec.head_dim].mul_(NOISE)
        attention.q_proj.weight[row + places] += read
        attention.o_proj.weight[:, row : row + spec.head_dim].mul_(NOISE)
        attention.o_proj.weight[:, row : row + len(said)] += said.T
    attention.q_norm.weight.mul_(2.0)
