"""The text decoder.

Letters: N rows of a step, M rows whose output is wanted, C model width, L layers, P per-layer width, V
vocabulary.
"""

from torch import Tensor, nn

from gemcut.config import AttentionKind, TextConfig
from gemcut.model.attention import rotations
from gemcut.model.block import Block
from gemcut.model.embedding import EmbeddingTable, per_layer_inputs
from gemcut.model.layer_plan import LayerSpec, plan_layers
from gemcut.model.projection import Linear, RmsNorm
from gemcut.model.step import Embedded, Seen, Step


class TextModel(nn.Module):
    """Embeddings, layers and the final norm, named as the checkpoint has them below `language_model`."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        width, per_layer = config.hidden_size, config.hidden_size_per_layer_input
        self.embed_tokens = EmbeddingTable(config.vocab_size, width, width**0.5)
        self.plan = plan_layers(config)
        self.layers = nn.ModuleList(Block(config, spec) for spec in self.plan)
        self.norm = RmsNorm(width, config.rms_norm_eps)
        if per_layer:
            inner = config.num_hidden_layers * per_layer
            self.embed_tokens_per_layer = EmbeddingTable(
                config.vocab_size_per_layer_input, inner, per_layer**0.5
            )
            self.per_layer_model_projection = Linear(width, inner)
            self.per_layer_projection_norm = RmsNorm(per_layer, config.rms_norm_eps)

    def kv_owners(self) -> dict[LayerSpec, Tensor]:
        """The layers that own keys and values, and the weight (D,) of each one's k_norm."""
        return {
            spec: self.get_parameter(f"layers.{spec.index}.self_attn.k_norm.weight")
            for spec in self.plan
            if spec.owns_kv
        }

    def embed(self, ids: Tensor) -> Embedded:
        """(N,) int64 token ids -> rows for `forward`."""
        return self._with_per_layer(ids, self.embed_tokens(ids, self.norm.weight.dtype))

    def embed_with_soft_tokens(self, ids: Tensor, placeholders: Tensor, soft: Tensor) -> Embedded:
        """Token ids, of which some are placeholders, and the soft tokens (S, C) in their places -> rows.

        ids: (N,) int64.  placeholders: (N,) bool, S of them True; where fewer are, the first soft tokens
        count.  Soft tokens are not scaled; per-layer tables are read at the padding's id.
        """
        ids = ids.masked_fill(placeholders, self.config.pad_token_id)
        hidden = self.embed_tokens(ids, self.norm.weight.dtype)  # (N,) -> (N, C)
        hidden = hidden.masked_scatter(placeholders[:, None], soft.to(hidden.dtype))
        return self._with_per_layer(ids, hidden)

    def _with_per_layer(self, ids: Tensor, hidden: Tensor) -> Embedded:
        if not self.config.hidden_size_per_layer_input:
            return Embedded(hidden, None)
        rows = self.embed_tokens_per_layer(ids, hidden.dtype)  # (N,) -> (N, L·P)
        projected = self.per_layer_model_projection.product(hidden)  # (N, C) -> (N, L·P)
        norm = self.per_layer_projection_norm.weight
        return Embedded(hidden, per_layer_inputs(projected, rows, norm, self.config))

    def forward(self, embedded: Embedded, step: Step) -> Tensor:
        """Hidden rows after the final norm, (M, C): those that `step.outputs` names, or all.

        Layers that share K and V run for those rows only, since nobody else reads what they make.
        """
        latest: dict[AttentionKind, Seen] = {}
        outputs = step.outputs
        angles = rotations(self.plan, step, embedded.hidden.dtype)
        for spec, layer in zip(self.plan, self.layers, strict=True):
            if spec.index == self.config.first_shared_layer and outputs is not None:
                embedded, step, outputs = embedded.take(outputs), step.take(outputs), None
                angles = rotations(self.plan, step, embedded.hidden.dtype)
            per_layer = None if embedded.per_layer is None else embedded.per_layer[:, spec.index]  # (N, P)
            shared = None if spec.owns_kv else latest[spec.kind]
            hidden, latest[spec.kind] = layer(embedded.hidden, per_layer, shared, angles, step)
            embedded = Embedded(hidden, embedded.per_layer)
        normed: Tensor = self.norm(embedded.hidden if outputs is None else embedded.hidden[outputs])
        return normed
