"""What each layer is, decided once from the config; modules read their spec, never a model's name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gemcut.config import AttentionKind, ExpertsConfig, Rope, TextConfig


@dataclass(frozen=True, kw_only=True)
class LayerSpec:
    """One decoder layer."""

    index: int
    kind: AttentionKind
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rope: Rope
    kv_layer: int | None  # whose K and V it reads: its own index, an earlier layer's; None: another model's
    has_v_proj: bool  # False: V is the normalised output of k_proj
    intermediate_size: int
    experts: ExpertsConfig | None

    @property
    def owns_kv(self) -> bool:
        """Whether it computes K and V itself."""
        return self.kv_layer == self.index


def plan_layers(config: TextConfig) -> tuple[LayerSpec, ...]:
    """One spec for each layer, first to last.

    Where all layers share (a drafter), they read the target's last layer of their kind that has K and V.
    Raises ValueError where a shared layer has no earlier layer of its kind to read from; the config reader
    refuses such a config before.
    """
    own = config.layer_types[: config.first_shared_layer]
    return tuple(_layer(config, index, kind, own) for index, kind in enumerate(config.layer_types))


def _layer(config: TextConfig, index: int, kind: AttentionKind, own: Sequence[AttentionKind]) -> LayerSpec:
    sliding = kind == "sliding_attention"
    shared = index >= len(own)
    kv_layer = index if not shared else last_of_kind(own, kind) if own else None
    return LayerSpec(
        index=index,
        kind=kind,
        num_heads=config.num_attention_heads,
        num_kv_heads=config.num_key_value_heads if sliding else config.num_global_key_value_heads,
        head_dim=config.head_dim if sliding else config.global_head_dim,
        rope=config.local_rope if sliding else config.global_rope,
        kv_layer=kv_layer,
        has_v_proj=sliding or not config.attention_k_eq_v,
        intermediate_size=config.intermediate_size * (2 if shared and config.use_double_wide_mlp else 1),
        experts=config.experts,
    )


def last_of_kind(kinds: Sequence[AttentionKind], kind: AttentionKind) -> int:
    """Index of the last layer of that kind.  Raises ValueError where there is none."""
    return len(kinds) - 1 - kinds[::-1].index(kind)


def layers_read_by_drafter(target: TextConfig) -> Mapping[AttentionKind, int]:
    """The target's layer whose K and V a drafter's layers of each kind read: the last that has its own."""
    own = target.layer_types[: target.first_shared_layer]
    return {kind: last_of_kind(own, kind) for kind in sorted(set(own))}


def unused_tensors(config: TextConfig) -> frozenset[str]:
    """Names that hub files hold although nothing reads them: K and V of layers that reuse earlier ones."""
    return frozenset(
        f"model.language_model.layers.{index}.self_attn.{part}.weight"
        for index in range(config.first_shared_layer, config.num_hidden_layers)
        for part in ("k_proj", "v_proj", "k_norm", "v_norm")
    )
