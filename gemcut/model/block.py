"""One decoder layer: attention and feed-forward between sandwich norms, per-layer input, layer scalar.

Parts that only some models have are decided at construction, so `forward` runs straight through.
Letters: N rows, C model width, P per-layer width.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gemcut.config import TextConfig
from gemcut.kernels.gate import gelu_times
from gemcut.kernels.native import Native
from gemcut.kernels.native_layer import NativeLayer, native_for_layer, readable
from gemcut.model.attention import Attention, Rotations, attend_seen
from gemcut.model.experts import Experts, Router
from gemcut.model.feed_forward import Mlp
from gemcut.model.layer_plan import LayerSpec
from gemcut.model.projection import Linear, Projection, RmsNorm
from gemcut.model.step import Seen, Step


class Block(nn.Module):
    """A decoder layer; holds exactly the parameters that the checkpoint has for it."""

    def __init__(self, config: TextConfig, spec: LayerSpec) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.rms_norm_eps
        self.spec = spec
        self.self_attn = Attention(config, spec)
        self.mlp = Mlp(width, spec.intermediate_size)
        self.input_layernorm = RmsNorm(width, eps)
        self.post_attention_layernorm = RmsNorm(width, eps)
        self.pre_feedforward_layernorm = RmsNorm(width, eps)
        self.post_feedforward_layernorm = RmsNorm(width, eps)
        self.layer_scalar = nn.Parameter(torch.empty(1))
        self._native_layer: NativeLayer | None = None
        # Functions of the class, not bound methods: a block that held itself would keep its memory.
        self.feed_forward: Callable[[Block, Tensor, Step], Tensor] = Block._dense
        if spec.experts is not None:
            self.router = Router(config, spec.experts)
            self.experts = Experts(config, spec.experts)
            self.post_feedforward_layernorm_1 = RmsNorm(width, eps)
            self.post_feedforward_layernorm_2 = RmsNorm(width, eps)
            self.pre_feedforward_layernorm_2 = RmsNorm(width, eps)
            self.feed_forward = Block._dense_and_experts
        self.end: Callable[[Block, Tensor, Tensor | None, Step], Tensor] = Block._scale
        if config.hidden_size_per_layer_input:
            self.per_layer_input_gate: Projection = Linear(width, config.hidden_size_per_layer_input)
            self.per_layer_projection: Projection = Linear(config.hidden_size_per_layer_input, width)
            self.post_per_layer_input_norm = RmsNorm(width, eps)
            self.end = Block._add_per_layer

    def forward(
        self, x: Tensor, per_layer: Tensor | None, shared: Seen | None, rotations: Rotations, step: Step
    ) -> tuple[Tensor, Seen]:
        """(N, C) -> (N, C), and the keys and values it read.

        per_layer: (N, P), this layer's part.  shared: K and V of the layer that this one reads, None where
        it owns.
        """
        if (native := self._native(x)) is not None:
            q, fresh = native.before(x, *rotations[self.spec.kind])
            seen = shared if fresh is None else step.extend(self.spec, fresh)
            assert seen is not None, "a layer without keys and values of its own reads another's"
            attended = attend_seen(q, seen, step.sights[self.spec.kind])
            return native.after(attended, x, per_layer), seen
        normed = self.input_layernorm(x)
        if shared is None:
            shared = step.extend(self.spec, self.self_attn.keys_values(normed, rotations, step))
        x = self.post_attention_layernorm(self.self_attn(normed, shared, rotations, step), onto=x)
        x = self.post_feedforward_layernorm(self.feed_forward(self, x, step), onto=x)
        return self.end(self, x, per_layer, step), shared

    def _native(self, x: Tensor) -> NativeLayer | None:
        """The layer in native code, where that serves these rows (N, C) and all of the layer's parts."""
        native = native_for_layer(x)
        if native is None or self.spec.experts is not None:
            return None
        made = self._native_layer
        if made is None or not made.is_of(self.layer_scalar):
            self._native_layer = None  # before its successor is made: it keeps the old weights
            made = self._native_layer = self._make_native(native)
        return made if made is not None and len(x) <= made.most_rows else None

    def _make_native(self, native: Native) -> NativeLayer | None:
        """From the weights where they are now; None where some part of the layer is more than a weight."""
        attention, mlp = self.self_attn, self.mlp
        projections: dict[str, Projection] = {
            "q": attention.q_proj, "o": attention.o_proj,
            "gate": mlp.gate_proj, "up": mlp.up_proj, "down": mlp.down_proj,
        }  # fmt: skip
        norms = {
            "input_norm": self.input_layernorm,
            "q_norm": attention.q_norm,
            "after_attention": self.post_attention_layernorm,
            "before_feed_forward": self.pre_feedforward_layernorm,
            "after_feed_forward": self.post_feedforward_layernorm,
        }
        if self.spec.owns_kv:
            projections["k"], norms["k_norm"] = attention.k_proj, attention.k_norm
            if self.spec.has_v_proj:
                projections["v"] = attention.v_proj
        if self.end is Block._add_per_layer:
            projections |= {
                "per_layer_gate": self.per_layer_input_gate,
                "per_layer": self.per_layer_projection,
            }
            norms["after_per_layer"] = self.post_per_layer_input_norm
        matrices = {name: stored for name, p in projections.items() if (stored := p.stored()) is not None}
        vectors = {name: norm.weight.detach() for name, norm in norms.items()}
        vectors["scalar"] = self.layer_scalar.detach()
        weights = [(stored.weight, stored.bits) for stored in matrices.values()]
        weights += [(vector, 16) for vector in vectors.values()]
        if len(matrices) < len(projections) or not all(readable(*weight) for weight in weights):
            return None
        sizes = self.spec.num_heads, self.spec.num_kv_heads, self.spec.head_dim
        return NativeLayer(native, matrices, vectors, sizes, attention.eps)

    def _dense(self, x: Tensor, step: Step) -> Tensor:
        out: Tensor = self.mlp(self.pre_feedforward_layernorm(x), step)
        return out

    def _dense_and_experts(self, x: Tensor, step: Step) -> Tensor:
        dense = self.post_feedforward_layernorm_1(self._dense(x, step))
        weights, chosen = self.router(x, step)  # the router sees the residual, before any norm
        mixed = self.experts(self.pre_feedforward_layernorm_2(x), weights, chosen)
        both: Tensor = self.post_feedforward_layernorm_2(mixed, onto=dense)
        return both

    def _scale(self, x: Tensor, per_layer: Tensor | None, step: Step) -> Tensor:
        return x * self.layer_scalar

    def _add_per_layer(self, x: Tensor, per_layer: Tensor | None, step: Step) -> Tensor:
        assert per_layer is not None, "this model has per-layer embeddings, so `embed` gave them"
        gate = self.per_layer_input_gate(x, step)  # (N, C) -> (N, P)
        projected = self.per_layer_projection(gelu_times(gate, per_layer), step)  # (N, P) -> (N, C)
        added: Tensor = self.post_per_layer_input_norm(projected, onto=x, times=self.layer_scalar)
        return added
