import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gemcut.train.batches import Shape, make_batch
from gemcut.train.examples import from_lists
from gemcut.train.objective import mean_loss
from tests.parity.tiny import TINY, pair


@pytest.mark.parametrize("size", ["e2b", "e4b", "31b"])
def test_gradients_equal_those_of_transformers(size: str) -> None:
    """Shared K and V are read by several layers, and the embedding is the head too: their gradients add up.

    Token 0 pads: transformers keeps its embedding as it is.
    """
    ours, theirs = pair(TINY[size], dtype=torch.float64)
    ours.requires_grad_(True)
    random = np.random.default_rng(0)
    rows = [(random.integers(1, 300, n).tolist(), [int(i >= 9) for i in range(n)]) for n in (40, 31)]
    batch = make_batch(from_lists(rows), [[0, 1]], Shape(groups=1, tokens=80, learnt=60))
    mean_loss(ours, batch).backward()

    losses = []
    for ids, mask in rows:
        logits = theirs(torch.tensor([ids])).logits[0]
        learnt = torch.tensor(mask[1:]) == 1
        losses.append(F.cross_entropy(logits[:-1][learnt], torch.tensor(ids[1:])[learnt], reduction="none"))
    torch.cat(losses).mean().backward()

    wanted: dict[str, Tensor | None] = {
        name.replace("model.", "model.language_model.", 1): parameter.grad
        for name, parameter in theirs.named_parameters()
    }
    compared = 0
    for name, parameter in ours.named_parameters():
        if name in wanted:  # transformers keeps layer scalars as buffers
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-5, atol=2e-6, msg=name)
            compared += 1
    assert compared > 30
