"""What training makes small: the cross entropy of the tokens that the mask marks.

Letters: G groups, T tokens of a group, R places for learnt tokens of a group, C model width, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import packed_step
from gemcut.train.batches import Batch

# Options of torch.compile: what took so many operations (the cosines of positions) is kept, and not computed
# anew in every loop that reads it.  Other versions of torch know other names.
KEEP = ("realize_opcount_threshold", "realize_cpu_opcount_threshold")
KEEP_FROM = 4
Function = TypeVar("Function", bound=Callable[..., Tensor])


def token_losses(model: Gemma4, batch: Batch, soft: Tensor | None = None) -> Tensor:
    """The cross entropy of every learnt token in nats, (G·R,) float32; 0 in the places that are left over.

    soft: (S, C), what stands at the placeholders of images and sound, in order; more than those do no harm.

    The layers that share K and V run for the learnt tokens only.
    """
    step = packed_step(batch.sequences, batch.positions, model.config.text)
    step = replace(step, outputs=batch.outputs)
    ids = batch.ids.reshape(-1)  # (G·T,)
    embedded = model.embed(ids) if soft is None else model.embed_with_soft_tokens(ids, soft)
    logits = model.logits(model(embedded, step))  # (G·R, V)
    return F.cross_entropy(logits, batch.targets, reduction="none") * batch.weights


def mean_loss(model: Gemma4, batch: Batch, soft: Tensor | None = None) -> Tensor:
    """The mean cross entropy of the learnt tokens, a scalar.  soft: see `token_losses`."""
    return token_losses(model, batch, soft).sum() / batch.weights.sum().clamp(min=1.0)


def compiled(function: Function) -> Function:
    """The function made faster by torch.compile for one shape of batch; it needs a C++ compiler."""
    known = set(torch._inductor.list_options())
    options: dict[str, str | int | bool | Callable[..., Any]] = {}
    options |= {name: KEEP_FROM for name in KEEP if name in known}
    return cast(Function, torch.compile(function, dynamic=False, options=options))
