"""The whole model: token ids and positions in, logits out.

Letters: N rows of a step, M rows whose output is wanted, C model width, V vocabulary.
"""

from torch import Tensor, nn

from gemcut.config import ModelConfig
from gemcut.kernels.linear import linear
from gemcut.kernels.norm import at_least_float32
from gemcut.model.math import soft_cap
from gemcut.model.step import Embedded, Step
from gemcut.model.text import TextModel


class Parts(nn.Module):
    """What the checkpoint has below `model`: the decoder; towers for images and sound are still to come."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.language_model = TextModel(config.text)


class OutputHead(nn.Module):
    """Hidden rows to logits; the weight is the embedding's, (V, C), passed in so that it has one owner."""

    def __init__(self, cap: float) -> None:
        super().__init__()
        self.cap = cap

    def forward(self, hidden: Tensor, weight: Tensor) -> Tensor:
        """(M, C) -> (M, V) in float32 at least."""
        return soft_cap(linear(hidden, weight).to(at_least_float32(hidden.dtype)), self.cap)


class Gemma4(nn.Module):
    """A Gemma 4 model of any size; parameter names are the checkpoint's."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Parts(config)
        self.head = OutputHead(config.text.final_logit_softcapping)

    def embed(self, ids: Tensor) -> Embedded:
        """(N,) int64 token ids -> rows for `forward`."""
        return self.model.language_model.embed(ids)

    def forward(self, embedded: Embedded, step: Step) -> Tensor:
        """Hidden rows after the final norm, (M, C)."""
        hidden: Tensor = self.model.language_model(embedded, step)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """(M, C) -> (M, V), soft-capped, float32 at least."""
        logits: Tensor = self.head(hidden, self.model.language_model.embed_tokens.weight)
        return logits
