"""Self-attention of a decoder layer.

Letters: N rows, C model width, H query heads, K key/value heads, D head width, S keys seen.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from gemcut.config import AttentionKind, TextConfig
from gemcut.kernels.attention import Sight, attend
from gemcut.kernels.norm import norm_rotate, rms_norm
from gemcut.kernels.page_pool import PagePool
from gemcut.kernels.page_sight import PageSight
from gemcut.kernels.paged_attention import attend_pages
from gemcut.model.layer_plan import LayerSpec
from gemcut.model.math import cos_sin, inverse_frequencies
from gemcut.model.projection import Linear, Projection, RmsNorm
from gemcut.model.step import KeysValues, Seen, Step

Rotations = Mapping[AttentionKind, tuple[Tensor, Tensor]]  # cosine and sine, (N, 1, D) each


def rotations(plan: Sequence[LayerSpec], step: Step, dtype: torch.dtype) -> Rotations:
    """Every row's, for each kind of layer in the plan."""
    device = step.positions.device
    return {
        kind: cos_sin(step.positions, inverse_frequencies(spec.rope, spec.head_dim, device), dtype)
        for kind, spec in {spec.kind: spec for spec in plan}.items()
    }


class Attention(nn.Module):
    """Queries over the keys and values of its own layer, or of the earlier layer that its spec names.

    Parameters are those the layer needs: no K and V for a layer that shares, no v_proj where V is the
    normalised output of k_proj.
    """

    def __init__(self, config: TextConfig, spec: LayerSpec) -> None:
        super().__init__()
        self.spec = spec
        self.eps = config.rms_norm_eps
        inner = spec.num_heads * spec.head_dim
        kv_inner = spec.num_kv_heads * spec.head_dim
        self.q_proj: Projection = Linear(config.hidden_size, inner)
        self.q_norm = RmsNorm(spec.head_dim, config.rms_norm_eps)
        self.o_proj: Projection = Linear(inner, config.hidden_size)
        if spec.owns_kv:
            self.k_proj: Projection = Linear(config.hidden_size, kv_inner)
            self.k_norm = RmsNorm(spec.head_dim, config.rms_norm_eps)
        if spec.owns_kv and spec.has_v_proj:
            self.v_proj: Projection = Linear(config.hidden_size, kv_inner)

    def keys_values(self, x: Tensor, rotations: Rotations, step: Step) -> KeysValues:
        """Fresh keys and values of the rows, (N, C) -> (N, K, D) each; for layers that own theirs."""
        heads = (-1, self.spec.num_kv_heads, self.spec.head_dim)
        raw_k = self.k_proj(x, step).view(heads)  # (N, C) -> (N, K, D)
        raw_v = self.v_proj(x, step).view(heads) if self.spec.has_v_proj else raw_k
        k = norm_rotate(raw_k, self.k_norm.weight, self.eps, *rotations[self.spec.kind])
        return k, rms_norm(raw_v, None, self.eps)

    def forward(self, x: Tensor, seen: Seen, rotations: Rotations, step: Step) -> Tensor:
        """(N, C) -> (N, C).  seen: the keys and values to read."""
        q = self.q_proj(x, step).view(-1, self.spec.num_heads, self.spec.head_dim)  # (N, C) -> (N, H, D)
        q = norm_rotate(q, self.q_norm.weight, self.eps, *rotations[self.spec.kind])
        return self.o_proj(attend_seen(q, seen, step.sights[self.spec.kind]), step)  # (N, H·D) -> (N, C)


def attend_seen(q: Tensor, seen: Seen, sight: Sight | PageSight) -> Tensor:
    """Over keys and values as they are or in pages: (N, H, D) -> (N, H·D)."""
    if isinstance(seen, PagePool):
        assert isinstance(sight, PageSight), "a step that writes into pages has sights of pages"
        return attend_pages(q, seen, sight)
    assert isinstance(sight, Sight), "a step without pages has sights of whole tensors"
    return attend(q, *seen, sight)
