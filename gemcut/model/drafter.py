"""The assistant model: it drafts tokens for a target model, whose hidden rows and K and V it reads.

A draft step takes a token, by the target's embedding, and the target's hidden row that led to it; the next
step takes the token that was drafted and the row that the drafter hands on.  All steps of a draft stand at
the position of the token they began with and see the keys before it: the drafter makes no keys of its own.

Letters: M rows, C drafter's width, B target's width, V vocabulary, S tokens that may be drafted, K clusters.
Source: transformers 5.23 `models/gemma4_assistant`, `generation/candidate_generator.py`; parity in
tests/parity/test_drafter.py.
"""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from gemcut.config import AttentionKind, ClustersConfig, DrafterConfig, TextConfig
from gemcut.kernels.linear import linear
from gemcut.kernels.norm import at_least_float32
from gemcut.model.attention import rotations
from gemcut.model.block import Block
from gemcut.model.layer_plan import LayerSpec, layers_read_by_drafter, plan_layers
from gemcut.model.projection import Linear, Projection, RmsNorm
from gemcut.model.step import KeysValues, Seen, Step


class DrafterLayers(nn.Module):
    """The embedding, layers and final norm, named as the checkpoint has them below `model`.

    Of the embedding only the output head makes use: what goes in comes from the target.
    """

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.embed_tokens = Linear(config.hidden_size, config.vocab_size)
        self.plan = plan_layers(config)
        self.layers = nn.ModuleList(Block(config, spec) for spec in self.plan)
        self.norm = RmsNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Tensor, seen: Mapping[AttentionKind, Seen], step: Step) -> Tensor:
        """(M, C) -> (M, C).  seen: what the layers of each kind read, as the step's sights say."""
        angles = rotations(self.plan, step, x.dtype)
        for spec, layer in zip(self.plan, self.layers, strict=True):
            x, _ = layer(x, None, seen[spec.kind], angles, step)
        normed: Tensor = self.norm(x)
        return normed


class DraftHead(Protocol):
    """From hidden rows to the tokens that may be drafted."""

    def __call__(self, hidden: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """(M, C) and the embedding (V, C) -> logits (M, S), float32 at least, and ids (M, S)."""


class WholeHead(nn.Module):
    """Every token may be drafted."""

    def forward(self, hidden: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """See `DraftHead`; S = V."""
        logits = linear(hidden, weight).to(at_least_float32(hidden.dtype))  # (M, C) x (V, C) -> (M, V)
        return logits, torch.arange(len(weight), device=hidden.device).expand(len(hidden), -1)


class ClusteredHead(nn.Module):
    """The tokens of the likeliest clusters may be drafted: 32 of 2,048 clusters, so 4,096 of 262,144 tokens.

    token_ordering: (V,) int64, the tokens cluster by cluster, equally many in each.
    """

    token_ordering: Tensor

    def __init__(self, config: ClustersConfig, width: int, vocab_size: int) -> None:
        super().__init__()
        self.chosen = config.centroid_intermediate_top_k
        self.centroids = Linear(width, config.num_centroids)
        self.register_buffer("token_ordering", torch.empty(vocab_size, dtype=torch.int64))

    def forward(self, hidden: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """See `DraftHead`."""
        centroids = self.centroids.weight
        best = linear(hidden, centroids).topk(self.chosen, dim=-1).indices  # (M, C) x (K, C) -> (M, chosen)
        ids = self.token_ordering.view(len(centroids), -1)[best].flatten(1)  # (M, S)
        logits = (weight[ids] @ hidden[:, :, None])[..., 0]  # (M, S, C) x (M, C, 1) -> (M, S)
        return logits.to(at_least_float32(hidden.dtype)), ids


class Drafter(nn.Module):
    """The assistant model of one target; parameter names are the checkpoint's."""

    def __init__(self, config: DrafterConfig) -> None:
        super().__init__()
        text, backbone = config.text, config.backbone_hidden_size
        self.config = config
        self.model = DrafterLayers(text)
        self.pre_projection: Projection = Linear(2 * backbone, text.hidden_size)
        self.post_projection: Projection = Linear(text.hidden_size, backbone)
        self.head: DraftHead
        if config.clusters is None:
            self.head = WholeHead()
        else:
            self.masked_embedding = ClusteredHead(config.clusters, text.hidden_size, text.vocab_size)
            self.head = self.masked_embedding.forward

    def forward(
        self, tokens: Tensor, hidden: Tensor, seen: Mapping[AttentionKind, Seen], step: Step
    ) -> Tensor:
        """Hidden rows after the final norm, (M, C).

        tokens: (M, B), the tokens' rows of the target's embedding, scaled.
        hidden: (M, B), the target's rows after its final norm that led to them, or what `hand_on` gave.
        seen: the target's K and V for each kind of layer, of the layers that `layers_read_by_drafter` names.
        """
        x = self.pre_projection(torch.cat((tokens, hidden), dim=-1), step)  # (M, 2·B) -> (M, C)
        out: Tensor = self.model(x, seen, step)
        return out

    def hand_on(self, hidden: Tensor, step: Step) -> Tensor:
        """What the next step takes in the place of the target's hidden rows: (M, C) -> (M, B)."""
        return self.post_projection(hidden, step)

    def candidates(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (M, S), float32 at least, and ids (M, S) of the tokens that may be drafted, in no order."""
        return self.head(hidden, self.model.embed_tokens.weight)

    def logits(self, hidden: Tensor) -> Tensor:
        """(M, C) -> (M, V); a token that may not be drafted gets 1 less than the row's least candidate."""
        logits, ids = self.candidates(hidden)
        lowest = logits.amin(-1, keepdim=True) - 1
        return lowest.repeat(1, self.config.text.vocab_size).scatter(-1, ids, logits)


class FreshKeys:
    """Takes a step's keys and values for a drafter to read: those of the step alone, (N, K, D) each."""

    def __init__(self) -> None:
        self.of_layers: dict[int, KeysValues] = {}

    def extend(self, spec: LayerSpec, fresh: KeysValues) -> KeysValues:
        """See `Writer`."""
        self.of_layers[spec.index] = fresh
        return fresh

    def seen(self, target: TextConfig) -> dict[AttentionKind, KeysValues]:
        """What a drafter's layers of each kind read."""
        return {kind: self.of_layers[layer] for kind, layer in layers_read_by_drafter(target).items()}
