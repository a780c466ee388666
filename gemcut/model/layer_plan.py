"""What each layer is, decided once from the config; modules read their spec, never a model's name."""

from collections.abc import Sequence
from dataclasses import dataclass

from gemcut.config import AttentionKind, ExpertsConfig, Rope, TextConfig
from gemcut.kernels.page_pool import RowLayout


@dataclass(frozen=True, kw_only=True)
class LayerSpec:
    """One decoder layer."""

    index: int
    kind: AttentionKind
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rope: Rope
    kv_layer: int  # whose K and V it reads: its own index, or an earlier layer's
    has_v_proj: bool  # False: V is the normalised output of k_proj
    intermediate_size: int
    experts: ExpertsConfig | None

    @property
    def owns_kv(self) -> bool:
        """Whether it computes K and V itself."""
        return self.kv_layer == self.index

    @property
    def kv_rows(self) -> RowLayout:
        """How its keys and values lie in pages: compactly where V is the projection that K is turned from."""
        rotated_pairs = int(self.rope.rotated * self.head_dim // 2)
        return RowLayout(self.head_dim, None if self.has_v_proj else 2 * rotated_pairs)


def plan_layers(config: TextConfig) -> tuple[LayerSpec, ...]:
    """One spec for each layer, first to last.

    Raises ValueError where a shared layer has no earlier layer of its kind to read from; the config reader
    refuses such a config before.
    """
    own = config.layer_types[: config.first_shared_layer]
    return tuple(_layer(config, index, kind, own) for index, kind in enumerate(config.layer_types))


def _layer(config: TextConfig, index: int, kind: AttentionKind, own: Sequence[AttentionKind]) -> LayerSpec:
    sliding = kind == "sliding_attention"
    shared = index >= len(own)
    last_of_kind = len(own) - 1 - own[::-1].index(kind) if shared else index
    return LayerSpec(
        index=index,
        kind=kind,
        num_heads=config.num_attention_heads,
        num_kv_heads=config.num_key_value_heads if sliding else config.num_global_key_value_heads,
        head_dim=config.head_dim if sliding else config.global_head_dim,
        rope=config.local_rope if sliding else config.global_rope,
        kv_layer=last_of_kind,
        has_v_proj=sliding or not config.attention_k_eq_v,
        intermediate_size=config.intermediate_size * (2 if shared and config.use_double_wide_mlp else 1),
        experts=config.experts,
    )


def unused_tensors(config: TextConfig) -> frozenset[str]:
    """Names that hub files hold although nothing reads them: K and V of layers that reuse earlier ones."""
    return frozenset(
        f"model.language_model.layers.{index}.self_attn.{part}.weight"
        for index in range(config.first_shared_layer, config.num_hidden_layers)
        for part in ("k_proj", "v_proj", "k_norm", "v_norm")
    )
