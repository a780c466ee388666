"""Attention over pages against its definition, in all its forms."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from gemcut.kernels import paged_attention
from gemcut.kernels.native import FEW_ROWS
from gemcut.kernels.page_pool import PagePool
from gemcut.kernels.paged_attention import attend_pages
from tests.kernels.paging import Paged, Sequence, paged

STEPS = {
    "decode": ([Sequence(1, 1), Sequence(7, 1), Sequence(30, 1)], None),
    "decode in a window": ([Sequence(3, 1), Sequence(9, 1), Sequence(30, 1)], 9),
    "a long past": ([Sequence(1300, 1), Sequence(1100, 3)], None),
    "guesses behind a token": ([Sequence(40, 5), Sequence(12, 8), Sequence(6, 1)], 16),
    "a prompt's beginning": ([Sequence(150, 150)], None),
    "chunks beside decodes": ([Sequence(5, 1), Sequence(300, 140), Sequence(8, 2), Sequence(31, 20)], None),
    "chunks in a window": ([Sequence(300, 200), Sequence(4, 1), Sequence(500, 30)], 33),
    "an image": ([Sequence(60, 50, image=20), Sequence(9, 1), Sequence(12, 6, image=7)], 24),
    "an image longer than the window": ([Sequence(70, 60, image=12)], 24),
}
every_step = pytest.mark.parametrize("name", STEPS)


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def step(name: str, heads: tuple[int, int] = (4, 2), width: int = 16) -> Paged:
    return paged(*STEPS[name], heads, width)


def without_native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paged_attention, "native_for_pages", lambda q, pool: None)


@every_step
@pytest.mark.parametrize("blocks", [(128, 1024), (8, 16), (64, 64)])
def test_the_plain_form_is_exact_in_float64(
    name: str, blocks: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paged_attention, "NEAR_KEYS", blocks[0])
    monkeypatch.setattr(paged_attention, "FAR_KEYS", blocks[1])
    given = step(name)
    got = attend_pages(given.q, given.pool, given.sight)
    torch.testing.assert_close(got, given.by_definition(), atol=1e-12, rtol=0)


@every_step
def test_the_form_with_masks_is_exact_in_float64(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU does with prompts."""
    monkeypatch.setattr(paged_attention, "_attend_sequence", paged_attention._attend_masked)
    given = step(name)
    got = attend_pages(given.q, given.pool, given.sight)
    torch.testing.assert_close(got, given.by_definition(), atol=1e-12, rtol=0)


@every_step
@pytest.mark.parametrize(
    ("heads", "width"), [((4, 2), 16), ((8, 1), 64), ((6, 2), 48), ((3, 3), 256)], ids=str
)
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 2**-8)], ids=str)
@pytest.mark.usefixtures("built")
def test_native_and_plain_forms_together_are_exact_to_a_rounding(
    name: str, heads: tuple[int, int], width: int, dtype: torch.dtype, error: float
) -> None:
    given = step(name, heads, width).cast(dtype)
    got = attend_pages(given.q, given.pool, given.sight)
    assert got.dtype == dtype
    torch.testing.assert_close(got.double(), given.by_definition(), atol=error, rtol=error)


@every_step
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.usefixtures("built")
def test_without_native_code_the_result_is_the_same_to_a_rounding(
    name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = step(name).cast(dtype)
    want = attend_pages(given.q, given.pool, given.sight)
    without_native(monkeypatch)
    torch.testing.assert_close(attend_pages(given.q, given.pool, given.sight), want, atol=1e-2, rtol=1e-2)


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(("length", "window"), [(131_072, None), (262_144, None), (262_144, 1024)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_the_last_rows_of_a_whole_context_are_right(
    length: int, window: int | None, dtype: torch.dtype
) -> None:
    given = paged([Sequence(length, 2), Sequence(length - 3, 1)], window, (2, 1), 16).cast(dtype)
    error = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2**-8}[dtype]
    got = attend_pages(given.q, given.pool, given.sight)
    torch.testing.assert_close(got.double(), given.by_definition(), atol=error, rtol=error)


@every_step
def test_compact_rows_give_the_same_to_1e_12(name: str) -> None:
    """Keys that are their values times w, with nothing turned: every row can be packed either way."""
    given = step(name)
    weight = torch.linspace(0.5, 2, 16, dtype=torch.float64)
    layout = replace(given.pool.layout, rotated=4)
    turned = torch.cos(torch.arange(given.pool.rows.shape[0], dtype=torch.float64))[:, None, None]
    keys = given.pool.values * weight
    keys[..., [0, 1, 8, 9]] *= (
        turned  # what a rotation does is no matter: these dimensions are kept as they are
    )
    slots = torch.arange(len(keys))
    ordinary = PagePool.empty(given.pool.layout, len(keys), 2, weight, int8=False)
    compact = PagePool.empty(layout, len(keys), 2, weight, int8=False)
    for pool in (ordinary, compact):
        pool.write(slots, keys, given.pool.values)
    want = attend_pages(given.q, ordinary, given.sight)
    torch.testing.assert_close(attend_pages(given.q, compact, given.sight), want, atol=1e-12, rtol=0)


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rotated", [None, 16])
@every_step
def test_int8_is_read_alike_by_both_forms(
    name: str, rotated: int | None, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = step(name, (4, 2), 64).cast(dtype)
    layout = replace(given.pool.layout, rotated=rotated)
    pool = PagePool.empty(layout, len(given.pool.rows), 2, given.pool.weight, int8=True)
    pool.write(torch.arange(len(pool.rows)), given.pool.keys.nan_to_num(), given.pool.values.nan_to_num())
    native = attend_pages(given.q, pool, given.sight)
    without_native(monkeypatch)
    plain = attend_pages(given.q, pool, given.sight)
    error = 1e-5 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(native, plain, atol=error, rtol=error)


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_gives_the_same_bits_alone_and_in_any_company(threads: int) -> None:
    """Sums are cut at fixed positions, so neither the batch, nor guesses behind a row, nor threads matter."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    many = paged([Sequence(1300, 4), Sequence(700, 1), Sequence(90, 8)], 600, (4, 2), 64).cast(torch.bfloat16)
    together = attend_pages(many.q, many.pool, many.sight)
    for row in range(len(many.q)):
        alone = many.sight.take(torch.tensor([row]), len(many.q))
        assert torch.equal(attend_pages(many.q[row : row + 1], many.pool, alone)[0], together[row])
    torch.set_num_threads(before)


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("window", [None, 50])
@pytest.mark.parametrize("rows", [FEW_ROWS, FEW_ROWS + 1, 99])
def test_native_code_is_for_replies_and_prompts(
    rows: int, window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paged_attention, "_attend_sequence", lambda *args: pytest.fail("the plain form"))
    given = paged([Sequence(200, rows), Sequence(9, 1), Sequence(130, 130)], window, (4, 2), 16)
    rounded = given.cast(torch.float32)
    got = attend_pages(rounded.q, rounded.pool, rounded.sight)
    torch.testing.assert_close(got.double(), given.by_definition(), atol=1e-5, rtol=1e-5)


MUTANTS = {
    "a window that is one too short": lambda sight: replace(sight, lows=sight.lows + 1),
    "a row that does not see itself": lambda sight: replace(sight, highs=sight.highs - 1),
    "a page that is another's": lambda sight: replace(sight, tables=sight.tables.roll(1, 1)),
    "a table that begins one page later": lambda sight: replace(sight, first=sight.first + sight.page_tokens),
    "a neighbour's table": lambda sight: replace(sight, tables=sight.tables.flip(0)),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_small_mistakes_are_seen(mutant: str) -> None:
    given = paged([Sequence(40, 3), Sequence(30, 3)], 9, (4, 2), 16)
    want = given.by_definition()
    right = attend_pages(given.q, given.pool, given.sight)
    torch.testing.assert_close(right, want, atol=1e-12, rtol=0)
    wrong = attend_pages(given.q, given.pool, MUTANTS[mutant](given.sight))
    assert not (wrong - want).abs().max() < 1e-3
