"""The pools that a cache takes are those of the plan, byte for byte."""

import pytest
import torch

from gemcut.engine.memory import plan_memory
from gemcut.engine.scheduler import Limits
from gemcut.family import FAMILIES, Family
from gemcut.model.layer_plan import plan_layers
from gemcut.model.paged_cache import PagedCache

GB = 10**9


@pytest.mark.parametrize("row", FAMILIES, ids=lambda row: row.name)
@pytest.mark.parametrize("int8", [False, True])
def test_the_pools_take_what_the_plan_says(row: Family, int8: bool) -> None:
    text = row.size.text
    plan = plan_memory(text, 4 * GB, 1 if int8 else 2, 16, Limits(step_tokens=512, max_running=16))
    weights = {
        spec: torch.empty(spec.head_dim, dtype=torch.bfloat16, device="meta")
        for spec in plan_layers(text)
        if spec.owns_kv
    }
    cache = PagedCache(weights, plan.layout.slots, plan.int8)
    assert len(cache.pools) == plan.full.layers + plan.sliding.layers
    assert cache.cache_bytes == plan.cache_bytes
    rows = {pool.rows.dtype for pool in cache.pools.values()}
    assert rows == {torch.int8 if int8 else torch.bfloat16}
