"""A start from which copying is learnt at once: an induction circuit planted in random weights.

A model that is to repeat what it has read (a name, a value) must find the place where the current token
stood before and say what followed it.  Two attention layers do that: in a sliding layer every token takes up
the two tokens before it; in a full-attention layer every token looks for one that has taken up its like, and
its predecessor's like.  From random weights small models find this after hundreds of updates, all of a
sudden (Olsson and others, "In-context Learning and Induction Heads", 2022); here it is drawn into the first
weights, and training refines it.

Letters: V vocabulary, C model width, D head width.
"""

import torch
from torch import Tensor

from gemcut.errors import BadTraining
from gemcut.model.attention import Attention
from gemcut.model.block import Block
from gemcut.model.gemma4 import Gemma4
from gemcut.model.layer_plan import LayerSpec
from gemcut.model.math import inverse_frequencies
from gemcut.model.projection import Linear, Projection

CONSTANT = 4.0  # size of the one dimension that is the same for every token, where the others' is 1
OFFSETS = (1, 2, 1, 3)  # how far back the heads of the sliding layer look
FAST = 4  # how many of the fastest turning pairs of dimensions tell neighbours apart
SHARPNESS = 4.0  # of the sliding layer's queries, where 1 is a spread of 1 of the scores
MATCH_SHARPNESS = 2.0  # of the full-attention layers' queries
MATCH_HEADS = 2  # how many heads of a full-attention layer are planted
PREDECESSOR = 0.7  # how much the match of the token before counts, where that of the token itself counts 1
NOISE = 0.1  # share of the first random weights that is kept where the circuit is planted


@torch.no_grad()
def plant_copying(model: Gemma4, seed: int) -> None:
    """Plants the circuit into the first sliding layer and the full-attention layers behind it.

    Only layers that own K and V are changed.
    The model is initialised already.  Raises BadTraining where it has no such layers, or too narrow ones.
    """
    text = model.model.language_model
    width = text.config.hidden_size
    own = [layer for layer in text.layers if isinstance(layer, Block) and layer.spec.owns_kv]
    sliding = next((layer for layer in own if layer.spec.kind == "sliding_attention"), None)
    full = [] if sliding is None else [layer for layer in own if _is_full_behind(layer.spec, sliding.spec)]
    size = text.config.head_dim
    share = text.config.num_attention_heads // text.config.num_key_value_heads
    narrow = width < 3 * size + 1 or text.config.global_head_dim < 2 * size
    if sliding is None or not full or narrow or share < 2:
        raise BadTraining(
            f"copying cannot be planted in a model {width} wide with heads of {size} and "
            f"{text.config.global_head_dim}, {share} of them to a key head, and {len(full)} own "
            "full-attention layers behind a sliding one; give it a wider shape, or train without it"
        )
    basis = _basis(width, seed)
    read, taken, earlier = basis[1 : 1 + 3 * size].view(3, size, width)  # (D, C) each, see below
    table = text.embed_tokens.weight  # (V, C)
    for place in (taken, earlier):
        table.sub_(table @ place.T @ place)  # where a token's predecessors will lie nothing lies yet
    table.div_(table.norm(dim=1, keepdim=True))
    table[:, 0] = CONSTANT * width**-0.5
    _take_up_the_token_before(sliding.self_attn, read, (taken, earlier))
    for layer in full:
        _find_its_like(layer.self_attn, (read, taken, earlier), basis[1 + 3 * size :])
    for layer in (sliding, *full):
        layer.post_attention_layernorm.weight.fill_(1.0)


def _is_full_behind(spec: LayerSpec, sliding: LayerSpec) -> bool:
    return spec.kind == "full_attention" and spec.index > sliding.index


def _basis(width: int, seed: int) -> Tensor:
    """(C, C): orthonormal directions, the first one the first dimension, which will be the constant."""
    random = torch.randn(width, width, generator=torch.Generator().manual_seed(seed))
    random[0], random[:, 0] = 0, 0
    random[0, 0] = 1
    columns: Tensor = torch.linalg.qr(random).Q
    return columns.T


def _weight(projection: Projection) -> Tensor:
    assert isinstance(projection, Linear), "weights are planted before anything takes the plain form's place"
    return projection.weight


def _take_up_the_token_before(attention: Attention, read: Tensor, taken: tuple[Tensor, Tensor]) -> None:
    """Heads that look at fixed distances; the first writes what `read` sees of a token into `taken`.

    read, taken: (D, C), directions of the residual.
    """
    spec = attention.spec
    size, half = spec.head_dim, spec.head_dim // 2
    angles = inverse_frequencies(spec.rope, size, read.device)[:FAST]
    q, k, v, o = (
        _weight(p) for p in (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
    )
    for weight in (q, k, v, o):
        weight.mul_(NOISE)
    for head in range(spec.num_heads):
        turn = (
            OFFSETS[head % len(OFFSETS)] * angles
        )  # a query turned back by it meets the key that stands there
        row = head * size
        q[row : row + FAST, 0] += turn.cos()
        q[row + half : row + half + FAST, 0] -= turn.sin()
    for head in range(spec.num_kv_heads):
        k[head * size : head * size + FAST, 0] += 1.0
    v[:size] += read
    for head, place in enumerate(taken):
        o[:, head * size : (head + 1) * size] += place.T
    attention.q_norm.weight.mul_(SHARPNESS)


def _find_its_like(attention: Attention, places: tuple[Tensor, Tensor, Tensor], rest: Tensor) -> None:
    """Heads that match a token and its predecessor with those that others took up, and say the token found.

    places: read, taken, earlier, (D, C) each, of the sliding layer's width.  rest: directions that are free.
    """
    spec = attention.spec
    read, taken, earlier = places
    pairs = int(spec.rope.rotated * spec.head_dim // 2)
    still = torch.arange(pairs, spec.head_dim // 2)
    still = torch.cat((still, still + spec.head_dim // 2))  # dimensions that do not turn with the position
    half = len(still) // 2
    said = torch.cat((read, rest))[: spec.head_dim]  # (D, C)
    q, k, v, o = (
        _weight(p) for p in (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
    )
    for weight in (k, v):
        weight.mul_(NOISE)
    k[still[:half]] += taken[:half]
    k[still[half:]] += earlier[:half]
    v[: len(said)] += said
    for head in range(min(MATCH_HEADS, spec.num_heads)):
        rows = slice(head * spec.head_dim, (head + 1) * spec.head_dim)
        q[rows] *= NOISE
        q[rows.start + still[:half]] += read[:half]
        q[rows.start + still[half:]] += PREDECESSOR * taken[:half]
        o[:, rows] *= NOISE
        o[:, rows.start : rows.start + len(said)] += said.T
    attention.q_norm.weight.mul_(MATCH_SHARPNESS)
