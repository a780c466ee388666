"""Attention against its definition in float64."""

import pytest
import torch
from torch import Tensor

from gemcut.kernels.attention import Sight, attend
from gemcut.kernels.native import Native

HEADS, KV_HEADS, WIDTH = 4, 2, 8


def operands(rows: int, keys: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows + keys)
    q = torch.randn(rows, HEADS, WIDTH, generator=generator, dtype=torch.float64)
    k, v = (torch.randn(keys, KV_HEADS, WIDTH, generator=generator, dtype=torch.float64) for _ in range(2))
    return q, k, v


def by_definition(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
    """Row by row, head by head.  seen: (N, S) bool."""
    out = torch.empty_like(q)
    for row in range(len(q)):
        for head in range(HEADS):
            mine = head * KV_HEADS // HEADS
            weights = (k[seen[row], mine] @ q[row, head]).softmax(0)
            out[row, head] = weights @ v[seen[row], mine]
    return out.flatten(1)


def block_diagonal(groups: int, block: Tensor) -> Tensor:
    return torch.block_diag(*[block] * groups).bool()


LOWER = torch.ones(5, 5).tril()
BAND = torch.ones(300, 340).tril(40).triu(-10)  # row t sees the last 51 of 340 keys up to its own, 40 + t
SIGHTS = {
    "one row sees all": (Sight(1, None, causal=False), 1, torch.ones(1, 7).bool()),
    "causal": (Sight(1, None, causal=True), 5, LOWER.bool()),
    "causal groups": (Sight(3, None, causal=True), 15, block_diagonal(3, LOWER)),
    "a mask": (Sight(1, LOWER.triu(-2).bool()[None], causal=False), 5, LOWER.triu(-2).bool()),
    "a mask for all groups": (
        Sight(2, LOWER.triu(-1).bool()[None], causal=False),
        10,
        block_diagonal(2, LOWER.triu(-1)),
    ),
    "a band, piece by piece": (Sight(1, BAND.bool()[None], causal=False, band=51), 300, BAND.bool()),
    "groups with a band": (
        Sight(2, torch.ones(150, 150).tril().bool()[None], causal=False, band=150),
        300,
        block_diagonal(2, torch.ones(150, 150).tril()),
    ),
}


@pytest.mark.parametrize("name", SIGHTS)
def test_each_sight_gives_what_the_definition_gives(name: str) -> None:
    sight, rows, seen = SIGHTS[name]
    q, k, v = operands(rows, seen.shape[1])
    torch.testing.assert_close(attend(q, k, v, sight), by_definition(q, k, v, seen))


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("name", SIGHTS)
def test_bfloat16_is_the_float64_result_rounded(
    name: str, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gemcut.kernels.attention.multiplies_bfloat16", lambda: fast)
    sight, rows, seen = SIGHTS[name]
    q, k, v = (x.bfloat16() for x in operands(rows, seen.shape[1]))
    want = by_definition(q.double(), k.double(), v.double(), seen)
    got = attend(q, k, v, sight)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.double(), want, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("name", [name for name in SIGHTS if name != "one row sees all"])
def test_taken_rows_see_what_they_saw(name: str) -> None:
    sight, rows, seen = SIGHTS[name]
    size = rows // sight.groups
    taken = torch.tensor([group * size + place for group in range(sight.groups) for place in (0, 3)])
    q, k, v = operands(rows, seen.shape[1])
    want = attend(q, k, v, sight)[taken]
    torch.testing.assert_close(attend(q[taken], k, v, sight.take(taken, rows)), want)


@pytest.mark.parametrize(("heads", "kv_heads", "width"), [(8, 1, 256), (4, 2, 64), (3, 3, 128)])
@pytest.mark.parametrize("keys", [1, 2, 130])
def test_the_native_form_for_one_row_is_exact_to_one_rounding(
    built: Native, heads: int, kv_heads: int, width: int, keys: int
) -> None:
    generator = torch.Generator().manual_seed(keys)
    q = torch.randn(1, heads, width, generator=generator).bfloat16()
    k, v = (torch.randn(keys, kv_heads, width, generator=generator).bfloat16() for _ in range(2))
    want = attend(q.double(), k.double(), v.double(), Sight(1, None, causal=False))
    torch.testing.assert_close(built.attend_row(q, k, v).double(), want, atol=1e-3, rtol=2**-8)
    with torch.inference_mode():
        assert torch.equal(attend(q, k, v, Sight(1, None, causal=False)), built.attend_row(q, k, v))
