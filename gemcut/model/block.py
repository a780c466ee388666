"""One decoder layer: attention and feed-forward between sandwich norms, per-layer input, layer scalar.

Parts that only some models have are decided at construction, so `forward` runs straight through.
Letters: N rows, C model width, P per-layer width.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gemcut.config import TextConfig
from gemcut.model.attention import Attention, Rotations
from gemcut.model.experts import Experts, Router
from gemcut.model.feed_forward import Mlp
from gemcut.model.layer_plan import LayerSpec
from gemcut.model.math import gelu
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
        # Functions of the class, not bound methods: a block that held itself would keep its memory.
        self.feed_forward: Callable[[Block, Tensor, Step], Tensor] = Block._dense
        if spec.experts is not None:
            self.router = Router(config, spec.experts)
            self.experts = Experts(config, spec.experts)
            self.post_feedforward_layernorm_1 = RmsNorm(width, eps)
            self.post_feedforward_layernorm_2 = RmsNorm(width, eps)
            self.pre_feedforward_layernorm_2 = RmsNorm(width, eps)
            self.feed_forward = Block._dense_and_experts
        self.add_per_layer: Callable[[Block, Tensor, Tensor | None, Step], Tensor] = Block._add_nothing
        if config.hidden_size_per_layer_input:
            self.per_layer_input_gate: Projection = Linear(width, config.hidden_size_per_layer_input)
            self.per_layer_projection: Projection = Linear(config.hidden_size_per_layer_input, width)
            self.post_per_layer_input_norm = RmsNorm(width, eps)
            self.add_per_layer = Block._add_per_layer

    def forward(
        self, x: Tensor, per_layer: Tensor | None, shared: Seen | None, rotations: Rotations, step: Step
    ) -> tuple[Tensor, Seen]:
        """(N, C) -> (N, C), and the keys and values it read.

        per_layer: (N, P), this layer's part.  shared: K and V of the layer that this one reads, None where
        it owns.
        """
        normed = self.input_layernorm(x)
        if shared is None:
            shared = step.extend(self.spec, self.self_attn.keys_values(normed, rotations, step))
        x = self.post_attention_layernorm(self.self_attn(normed, shared, rotations, step), onto=x)
        x = self.post_feedforward_layernorm(self.feed_forward(self, x, step), onto=x)
        return self.add_per_layer(self, x, per_layer, step) * self.layer_scalar, shared

    def _dense(self, x: Tensor, step: Step) -> Tensor:
        out: Tensor = self.mlp(self.pre_feedforward_layernorm(x), step)
        return out

    def _dense_and_experts(self, x: Tensor, step: Step) -> Tensor:
        dense = self.post_feedforward_layernorm_1(self._dense(x, step))
        weights, chosen = self.router(x, step)  # the router sees the residual, before any norm
        mixed = self.experts(self.pre_feedforward_layernorm_2(x), weights, chosen)
        both: Tensor = self.post_feedforward_layernorm_2(mixed, onto=dense)
        return both

    def _add_nothing(self, x: Tensor, per_layer: Tensor | None, step: Step) -> Tensor:
        return x

    def _add_per_layer(self, x: Tensor, per_layer: Tensor | None, step: Step) -> Tensor:
        assert per_layer is not None, "this model has per-layer embeddings, so `embed` gave them"
        gate = gelu(self.per_layer_input_gate(x, step))  # (N, C) -> (N, P)
        projected = self.per_layer_projection(gate * per_layer, step)  # (N, P) -> (N, C)
        added: Tensor = self.post_per_layer_input_norm(projected, onto=x)
        return added
