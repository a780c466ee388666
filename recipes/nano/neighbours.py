"""A start from which a vision tower sees edges and corners at once: heads that look at neighbouring patches.

From random weights a vision transformer learns slowly which patches belong together; a convolution knows
from the start (d'Ascoli and others, "ConViT", 2021).  Here that is drawn into the first weights of the
attention, and training refines it.

Letters: D width of the tower, W head width.
"""

import math

import torch
from torch import nn

from gemcut.errors import BadTraining
from gemcut.model.vision import VisionAttention, VisionTower

OFFSETS = (  # columns and rows from a patch to the one that a head looks at, layer by layer
    ((-1, 0), (1, 0), (0, -1), (0, 1)),
    ((-2, 0), (2, 0), (0, -2), (0, 2)),
    ((-1, 0), (1, 0)),  # the other heads of this layer look wherever training leads them
)
CONSTANT = 3.0  # size of the one dimension that is the same for every patch, where the others' is 1
FAST = 3  # how many of the fastest turning pairs of dimensions tell neighbours apart
SHARPNESS = 3.0  # of the queries, where 1 is a spread of 1 of the scores
NOISE = 0.15  # share of the first random weights that is kept where heads are planted
FEATURES = 8  # waves of an axis in the position table
STEP = 3**0.5  # from a wave to the next longer one


@torch.no_grad()
def plant_neighbours(tower: VisionTower) -> None:
    """Plants heads that look at neighbours, and positions, into a tower that is initialised already.

    Raises BadTraining for a tower too small for them.
    """
    config = tower.config
    layers = [layer.self_attn for layer in tower.encoder.layers]
    wanted = 1 + 2 * (config.pooling_kernel_size + 2 * FEATURES)
    if len(layers) < len(OFFSETS) or config.head_dim < 4 * FAST or config.hidden_size < wanted:
        raise BadTraining(
            f"neighbours cannot be planted in {len(layers)} layers of width {config.hidden_size} with heads "
            f"of {config.head_dim}; take {len(OFFSETS)}, {wanted} and {4 * FAST} at least"
        )
    _plant_positions(tower.patch_embedder.position_embedding_table, config.pooling_kernel_size)
    for attention, offsets in zip(layers, OFFSETS, strict=False):
        for head, offset in enumerate(offsets):
            _plant_head(attention, head, offset, config.rope_theta)
        attention.q_norm.weight.mul_(SHARPNESS if len(offsets) == attention.num_heads else 1.0)


def _plant_positions(table: nn.Parameter, pooling: int) -> None:
    """Fills (2, positions, D) with waves, and with a patch's place in its soft token.

    A soft token is the mean of its patches: only what says where it stood can be told apart in it.
    """
    table.mul_(0.1)
    table[0, :, 0] = CONSTANT
    table[1, :, 0] = 0.0
    at = torch.arange(table.shape[1])
    for axis in range(2):
        first = 1 + axis * (pooling + 2 * FEATURES)
        table[axis, at, first + at % pooling] += 1.0
        for i in range(FEATURES):
            angles = at / STEP**i
            table[axis, :, first + pooling + 2 * i] += 0.5 * angles.sin()
            table[axis, :, first + pooling + 2 * i + 1] += 0.5 * angles.cos()


def _plant_head(attention: VisionAttention, head: int, offset: tuple[int, int], theta: float) -> None:
    """A query turned by the offset meets the key of the patch that lies there; half a head for each axis."""
    q, k = attention.q_proj.linear.weight, attention.k_proj.linear.weight  # (H·W, D)
    width = len(q) // attention.num_heads
    half, pairs = width // 2, width // 4
    rows = slice(head * width, (head + 1) * width)
    q[rows] *= NOISE
    k[rows] *= NOISE
    for axis, distance in enumerate(offset):
        for i in range(FAST):
            angle = distance * theta ** (-2 * i / half)
            at = head * width + axis * half + i
            q[at, 0] += math.cos(angle)
            q[at + pairs, 0] += math.sin(angle)
            k[at, 0] += 1.0
