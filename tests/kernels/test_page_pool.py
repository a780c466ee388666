"""Rows in pools of pages: the compact form is exact, int8 is as close as its scales allow."""

import pytest
import torch
from torch import Tensor

from gemcut.kernels.norm import rotate
from gemcut.kernels.page_pool import PagePool, RowLayout, quantized

WIDTH, ROTATED, KEYS, HEADS = 64, 16, 9, 2


def turned_and_plain(rotated: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries, keys, values and w of a layer whose keys are its values times w, partly turned."""
    generator = torch.Generator().manual_seed(seed)
    n = torch.randn(KEYS, HEADS, WIDTH, generator=generator, dtype=torch.float64)
    q = torch.randn(KEYS, 2 * HEADS, WIDTH, generator=generator, dtype=torch.float64)
    weight = 1 + 0.3 * torch.randn(WIDTH, generator=generator, dtype=torch.float64)
    angles = torch.zeros(KEYS, 1, WIDTH // 2, dtype=torch.float64)
    angles[..., : rotated // 2] = torch.rand(KEYS, 1, rotated // 2, generator=generator, dtype=torch.float64)
    angles = torch.cat((angles, angles), dim=-1)
    return q, rotate(n * weight, angles.cos(), angles.sin()), n, weight


def pool_of(layout: RowLayout, k: Tensor, v: Tensor, weight: Tensor, int8: bool = False) -> PagePool:
    pool = PagePool.empty(layout, 3 * KEYS, HEADS, weight, int8)
    pool.write(slots_of(), k, v)
    return pool


def slots_of() -> Tensor:
    return torch.randperm(3 * KEYS, generator=torch.Generator().manual_seed(1))[:KEYS]


@pytest.mark.parametrize("rotated", [0, 2, ROTATED, WIDTH])
def test_a_compact_row_gives_the_same_scores_and_values_to_1e_12(rotated: int) -> None:
    q, k, v, weight = turned_and_plain(rotated)
    layout = RowLayout(WIDTH, rotated)
    keys, values = pool_of(layout, k, v, weight).read(slots_of(), torch.float64)
    queries = layout.queries(q, weight)
    for head in range(HEADS):
        want, got = q[:, 2 * head] @ k[:, head].T, queries[:, 2 * head] @ keys[:, head].T
        torch.testing.assert_close(got, want, atol=1e-12, rtol=0)
    torch.testing.assert_close(layout.results(values), v, atol=0, rtol=0)


def test_a_row_of_31b_has_640_numbers_where_an_ordinary_one_has_1024() -> None:
    assert RowLayout(512, 128).parts == (128, 384, 128)
    assert (RowLayout(512, 128).numbers, RowLayout(512, None).numbers) == (640, 1024)


def test_key_and_value_are_views_of_one_row() -> None:
    _, k, v, weight = turned_and_plain(ROTATED)
    pool = pool_of(RowLayout(WIDTH, ROTATED), k, v, weight)
    assert pool.rows.shape[-1] == WIDTH + ROTATED
    assert pool.keys.data_ptr() == pool.rows.data_ptr()
    assert pool.values.data_ptr() == pool.rows.data_ptr() + ROTATED * pool.rows.element_size()
    both = pool.keys[..., ROTATED:], pool.values[..., : WIDTH - ROTATED]
    torch.testing.assert_close(*both, atol=0, rtol=0, equal_nan=True)  # slots that nobody wrote hold anything


@pytest.mark.parametrize("rotated", [None, ROTATED])
def test_int8_is_off_by_half_a_step_of_each_parts_own_scale(rotated: int | None) -> None:
    """A part with large numbers does not take the precision of the others."""
    _, k, v, weight = turned_and_plain(ROTATED)
    v = v * 50
    layout = RowLayout(WIDTH, rotated)
    exact = layout.pack(k, v)
    keys, values = pool_of(layout, k, v, weight, int8=True).read(slots_of(), torch.float64)
    got = torch.cat((keys, values[..., layout.numbers - 2 * WIDTH :]), dim=-1) if rotated is None else None
    got = torch.cat((keys, values[..., -ROTATED:]), dim=-1) if got is None else got
    for mine, theirs in zip(
        torch.split(got, list(layout.parts), -1), torch.split(exact, list(layout.parts), -1), strict=True
    ):
        step = theirs.abs().amax(-1, keepdim=True) / 127
        assert float(((mine - theirs).abs() / step).max()) < 0.5 + 127 * 2**-11  # the scale is a float16


def test_a_row_of_zeros_stays_zero_in_int8() -> None:
    rows, scales = quantized(torch.zeros(1, 1, 8), (4, 4))
    assert not rows.any()
    assert torch.isfinite(scales).all()


def test_memory_is_what_the_numbers_and_scales_take() -> None:
    weight = torch.ones(WIDTH, dtype=torch.bfloat16)
    for int8, each in ((False, 2 * (WIDTH + ROTATED)), (True, WIDTH + ROTATED + 3 * 2)):
        pool = PagePool.empty(RowLayout(WIDTH, ROTATED), 10, HEADS, weight, int8)
        assert pool.num_bytes == 10 * HEADS * each
