"""Rows of keys and values in pools of pages, and their forms: ordinary, compact, int8.

Letters: N rows of a step, M slots, S keys, H query heads, K key/value heads, D head width, R rotated
dimensions, E numbers of a head's row, A its parts.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

INT8_MOST = 127
LEAST_SCALE = 2.0**-14  # the smallest that float16 holds in full precision


@dataclass(frozen=True)
class RowLayout:
    """How a head's key and value lie in one row of E numbers: the key is its first D, the value its last D.

        ordinary   [ key D · value D ]
        compact    [ rotated of the key R · unrotated of n D - R · rotated of n R ]

    The compact form is for layers whose value is n, the normalised projection, and whose key is the rotation
    of w·n: dimensions that are not rotated are kept once, without w, which the queries take over.

    width: D.  rotated: R where the form is compact, else None.
    """

    width: int
    rotated: int | None

    @property
    def parts(self) -> tuple[int, ...]:
        """How the E numbers fall into parts of like size, each with a scale in int8."""
        if self.rotated is None:
            return self.width, self.width
        return self.rotated, self.width - self.rotated, self.rotated

    @property
    def numbers(self) -> int:
        """E."""
        return sum(self.parts)

    def pack(self, k: Tensor, v: Tensor) -> Tensor:
        """Rows of ordinary keys and values: (N, K, D) twice -> (N, K, E)."""
        if self.rotated is None:
            return torch.cat((k, v), dim=-1)
        turned, _ = self._split(k)
        last, middle = self._split(v)
        return torch.cat((turned, middle, last), dim=-1)

    def queries(self, q: Tensor, weight: Tensor) -> Tensor:
        """Queries for keys as they lie in rows; weight: (D,), w.  (N, H, D) -> (N, H, D)."""
        if self.rotated is None:
            return q
        turned, _ = self._split(q)
        _, middle = self._split(q * weight)
        return torch.cat((turned, middle), dim=-1)

    def results(self, out: Tensor) -> Tensor:
        """Sums of values as they lie in rows, in their ordinary order: (N, H, D) -> (N, H, D)."""
        if self.rotated is None:
            return out
        middle, last = torch.split(out, [self.width - self.rotated, self.rotated], dim=-1)
        halves = [part.view(*part.shape[:-1], 2, -1) for part in (last, middle)]
        return torch.cat(halves, dim=-1).flatten(-2)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The rotated dimensions, the first of each half of a head, and the others."""
        assert self.rotated is not None
        halves = x.view(*x.shape[:-1], 2, -1)  # (..., D) -> (..., 2, D/2)
        first = self.rotated // 2
        return halves[..., :first].flatten(-2), halves[..., first:].flatten(-2)


@dataclass(frozen=True)
class PagePool:
    """The rows that a layer keeps for many sequences.

    rows: (M, K, E), of the model's dtype or int8.  scales: (M, K, A) float16 in int8, else None.
    weight: (D,), that of the layer's k_norm.
    """

    layout: RowLayout
    rows: Tensor
    scales: Tensor | None
    weight: Tensor

    @classmethod
    def empty(
        cls, layout: RowLayout, num_slots: int, num_heads: int, weight: Tensor, int8: bool
    ) -> "PagePool":
        """A pool in the weight's dtype and on its device; memory that is not written costs nothing yet."""
        shape, parts = (num_slots, num_heads, layout.numbers), (num_slots, num_heads, len(layout.parts))
        rows = weight.new_empty(shape, dtype=torch.int8 if int8 else None)
        return cls(layout, rows, weight.new_empty(parts, dtype=torch.float16) if int8 else None, weight)

    @property
    def num_bytes(self) -> int:
        """Memory held."""
        return sum(x.numel() * x.element_size() for x in (self.rows, self.scales) if x is not None)

    @property
    def keys(self) -> Tensor:
        """(M, K, D), a view."""
        return self.rows[..., : self.layout.width]

    @property
    def values(self) -> Tensor:
        """(M, K, D), a view."""
        return self.rows[..., -self.layout.width :]

    def write(self, slots: Tensor, k: Tensor, v: Tensor) -> None:
        """Keeps ordinary keys and values, (N, K, D) each, in slots (N,) int64."""
        rows = self.layout.pack(k, v)
        if self.scales is not None:
            rows, scales = quantized(rows, self.layout.parts)
            self.scales.index_copy_(0, slots, scales)
        self.rows.index_copy_(0, slots, rows)

    def read(self, slots: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Keys and values as they lie in rows of slots (S,) int64: (S, K, D) each, views of one copy."""
        rows = self.rows.index_select(0, slots).to(dtype)
        if self.scales is not None:
            scales = self.scales.index_select(0, slots).to(dtype)
            parts = torch.split(rows, list(self.layout.parts), dim=-1)
            for part, scale in zip(parts, scales.unbind(-1), strict=True):
                part *= scale[..., None]
        return rows[..., : self.layout.width], rows[..., -self.layout.width :]


def quantized(rows: Tensor, parts: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Rows as int8 and a scale for each part: (N, K, E) -> (N, K, E) int8, (N, K, A) float16."""
    kept, scales = [], []
    for part in torch.split(rows.float(), list(parts), dim=-1):
        scale = (part.abs().amax(-1) / INT8_MOST).clamp(min=LEAST_SCALE).half()
        kept.append((part / scale.float()[..., None]).round().clamp(-INT8_MOST, INT8_MOST).to(torch.int8))
        scales.append(scale)
    return torch.cat(kept, dim=-1), torch.stack(scales, dim=-1)
