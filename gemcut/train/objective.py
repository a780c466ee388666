"""What training makes small: the cross entropy of the tokens that the mask marks.

Letters: G groups, T tokens of a group, R places for learnt tokens of a group, C model width, V vocabulary.
"""

from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor

from gemcut.kernels.attention import Sight
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import packed_step
from gemcut.train.batches import Batch


@dataclass(frozen=True)
class GroupedSight(Sight):
    """What the rows of several groups see, the same number of rows taken from each."""

    def take(self, rows: Tensor, total: int) -> Sight:
        """What `rows` (G·R,) see."""
        assert self.mask is not None
        return replace(self, mask=self.mask.flatten(0, 1)[rows].view(self.groups, -1, self.mask.shape[-1]))


def token_losses(model: Gemma4, batch: Batch) -> Tensor:
    """The cross entropy of every learnt token in nats, (G·R,) float32; 0 in the places that are left over.

    The layers that share K and V run for the learnt tokens only.
    """
    step = packed_step(batch.sequences, batch.positions, model.config.text)
    sights = {kind: GroupedSight(s.groups, s.mask, s.causal) for kind, s in step.sights.items()}
    step = replace(step, sights=sights, outputs=batch.outputs)
    logits = model.logits(model(model.embed(batch.ids.reshape(-1)), step))  # (G·T,) -> (G·R, V)
    return F.cross_entropy(logits, batch.targets, reduction="none") * batch.weights


def mean_loss(model: Gemma4, batch: Batch) -> Tensor:
    """The mean cross entropy of the learnt tokens, a scalar."""
    return token_losses(model, batch).sum() / batch.weights.sum().clamp(min=1.0)
