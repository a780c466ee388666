"""The largest values by blocks; log probabilities are tested where they are used."""

import pytest
import torch

from gemcut.engine.logprobs import largest


@pytest.mark.parametrize("size", [100, 4096, 5000, 64 * 512])
@pytest.mark.parametrize("count", [0, 1, 5, 32])
def test_the_largest_are_those_of_topk(size: int, count: int) -> None:
    x = torch.randn(3, size, generator=torch.Generator().manual_seed(size))
    x[1] = torch.arange(size).float()  # all of them in one block
    values, places = largest(x, count)
    assert torch.equal(values, x.topk(count).values)
    assert torch.equal(x.gather(1, places), values)
