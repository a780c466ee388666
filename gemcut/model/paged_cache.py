"""Keys and values of many sequences, in pools of pages; which page is whose, the engine knows.

Letters: N rows of a step, K key/value heads, D head width.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from gemcut.config import AttentionKind
from gemcut.kernels.page_pool import PagePool, RowLayout
from gemcut.model.layer_plan import LayerSpec
from gemcut.model.step import KeysValues


def row_layout(spec: LayerSpec) -> RowLayout:
    """How a layer's keys and values lie in pages: compactly where V is what K is turned from."""
    rotated_pairs = int(spec.rope.rotated * spec.head_dim // 2)
    return RowLayout(spec.head_dim, None if spec.has_v_proj else 2 * rotated_pairs)


class PagedCache:
    """A pool for each layer that owns keys and values, taken at once.

    owners: those layers, and the weight (D,) of each one's k_norm, whose dtype and device are the pool's.
    num_slots: of a pool, for each kind of layer.  int8: keep rows in int8 instead, with scales.
    """

    def __init__(
        self, owners: Mapping[LayerSpec, Tensor], num_slots: Mapping[AttentionKind, int], int8: bool
    ) -> None:
        self.pools = {
            spec.index: PagePool.empty(
                row_layout(spec), num_slots[spec.kind], spec.num_kv_heads, weight, int8
            )
            for spec, weight in owners.items()
        }

    @property
    def cache_bytes(self) -> int:
        """Memory held."""
        return sum(pool.num_bytes for pool in self.pools.values())


@dataclass(frozen=True)
class PageWriter:
    """Writes a step's rows into pages: each row to its slot, (N,) int64 for each kind of layer."""

    cache: PagedCache
    slots: Mapping[AttentionKind, Tensor]

    def extend(self, spec: LayerSpec, fresh: KeysValues) -> PagePool:
        """Writes a layer's fresh K and V, (N, K, D) each; returns its pool."""
        pool = self.cache.pools[spec.index]
        pool.write(self.slots[spec.kind], *fresh)
        return pool
