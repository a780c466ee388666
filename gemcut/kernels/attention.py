"""Attention of a step's rows over the keys they see, in plain PyTorch.

Letters: N = G·T rows in G groups of T, S keys of a group, H query heads, K key/value heads, D head width.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from gemcut.kernels.linear import multiplies_bfloat16
from gemcut.kernels.native import LANES, native_for

BAND_ROWS = 128  # rows of a piece: more waste arithmetic on keys that nobody sees, fewer cost calls


@dataclass(frozen=True)
class Sight:
    """Which keys each row of a step sees in the layers of one kind.

    groups: rows and keys fall into so many groups of equal size that do not see each other.
    mask: (G or 1, T, S) bool, True where row t sees key s; None where `causal` says it all.
    causal: with no mask, row t sees keys 0 to t of its group (T = S); else every row sees every key.
    band: with a mask, row t sees none but the last `band` of the keys up to its own, S - T + t; None where
    that is not known.
    """

    groups: int
    mask: Tensor | None
    causal: bool
    band: int | None = None

    def take(self, rows: Tensor, total: int) -> "Sight":
        """What `rows` (M,) of the `total` rows see: as many rows of each group, group after group."""
        if self.mask is None and not self.causal:
            return self
        size = total // self.groups
        if self.mask is None:
            taken = torch.arange(size, device=rows.device) <= (rows % size)[:, None]  # (M, S)
        else:
            taken = self.mask.expand(self.groups, -1, -1).flatten(0, 1)[rows]  # (G, T, S) -> (M, S)
        return replace(self, mask=taken.view(self.groups, -1, taken.shape[-1]), causal=False, band=None)


def attend(q: Tensor, k: Tensor, v: Tensor, sight: Sight) -> Tensor:
    """Softmax of q·k (scale 1) over the visible keys, times v.

    q: (N, H, D).  k, v: (G·S, K, D).  Returns (N, H·D).
    The softmax runs in float32 at least.
    """
    alone = len(q) == 1 and sight.mask is None
    if alone and q.shape[-1] % LANES == 0 and (native := native_for(q, k, v)) is not None:
        return native.attend_row(q, k, v)
    if q.dtype == torch.bfloat16 and q.device.type == "cpu" and not multiplies_bfloat16():
        return attend(q.float(), k.float(), v.float(), sight).to(q.dtype)
    rows, heads, width = q.shape
    if alone:
        return _attend_one(q, k, v)
    share = heads // k.shape[1]
    groups = sight.groups
    q = q.view(groups, rows // groups, heads, width).transpose(1, 2)  # (N, H, D) -> (G, H, T, D)
    k, v = (  # every query head gets its own copy: fused kernels for wide heads want it so
        x.view(groups, -1, x.shape[1], width).transpose(1, 2).repeat_interleave(share, dim=1) for x in (k, v)
    )  # (G·S, K, D) -> (G, H, S, D)
    mask = None if sight.mask is None else sight.mask[:, None]  # (G or 1, 1, T, S)
    if mask is None or sight.band is None:
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=sight.causal, scale=1.0)
    else:
        out = _attend_band(q, k, v, mask, sight.band)
    return out.transpose(1, 2).reshape(rows, heads * width)  # (G, H, T, D) -> (N, H·D)


def _attend_band(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, band: int) -> Tensor:
    """Attention piece by piece over the rows, each piece with those keys only that it may see.

    q: (G, H, T, D).  k, v: (G, H, S, D).  mask: (G or 1, 1, T, S).  Returns (G, H, T, D).
    """
    rows, earlier = q.shape[2], k.shape[2] - q.shape[2]
    pieces = []
    for start in range(0, rows, BAND_ROWS):
        end = min(rows, start + BAND_ROWS)
        keys = slice(max(0, earlier + start + 1 - band), earlier + end)
        part = q[:, :, start:end], k[:, :, keys], v[:, :, keys]
        pieces.append(F.scaled_dot_product_attention(*part, attn_mask=mask[:, :, start:end, keys], scale=1.0))
    return torch.cat(pieces, dim=2)


def _attend_one(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One row that sees every key: query heads that share a key head are the rows of a small product."""
    _, heads, width = q.shape
    kv_heads = k.shape[1]
    q = q.view(kv_heads, heads // kv_heads, width)  # (1, H, D) -> (K, H/K, D)
    wide = torch.promote_types(q.dtype, torch.float32)
    scores = (q @ k.permute(1, 2, 0)).to(wide)  # (K, H/K, D) x (K, D, S) -> (K, H/K, S)
    weights = scores.softmax(-1).to(v.dtype)
    return (weights @ v.transpose(0, 1)).reshape(1, heads * width)  # (K, H/K, S) x (K, S, D) -> (1, H·D)
