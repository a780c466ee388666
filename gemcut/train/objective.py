"""What training makes small: the cross entropy of the tokens that the mask marks.

Letters: G groups, T tokens of a group, R places for learnt tokens of a group, C model width, V vocabulary.
"""

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor

from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import packed_step
from gemcut.train.batches import Batch


def token_losses(model: Gemma4, batch: Batch) -> Tensor:
    """The cross entropy of every learnt token in nats, (G·R,) float32; 0 in the places that are left over.

    The layers that share K and V run for the learnt tokens only.
    """
    step = packed_step(batch.sequences, batch.positions, model.config.text)
    step = replace(step, outputs=batch.outputs)
    logits = model.logits(model(model.embed(batch.ids.reshape(-1)), step))  # (G·T,) -> (G·R, V)
    return F.cross_entropy(logits, batch.targets, reduction="none") * batch.weights


def mean_loss(model: Gemma4, batch: Batch) -> Tensor:
    """The mean cross entropy of the learnt tokens, a scalar."""
    return token_losses(model, batch).sum() / batch.weights.sum().clamp(min=1.0)
