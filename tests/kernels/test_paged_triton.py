"""Attention over pages in Triton's interpreter against the plain form in float64, which has tests of its own.

The interpreter multiplies bfloat16 as if it were whole numbers, so float16 stands for it here.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from gemcut.kernels import paged_attention
from gemcut.kernels.page_pool import PagePool, RowLayout, quantized
from gemcut.kernels.page_sight import FEW_ROWS, PageSight
from gemcut.kernels.paged_attention import attend_pages
from tests.kernels import paging
from tests.kernels.paging import Paged, Sequence, paged

paged_triton = pytest.importorskip("gemcut.kernels.paged_triton", reason="triton is made for Linux only")

ERRORS = {torch.float32: 1e-5, torch.float16: 4e-3}
DECODES = [Sequence(61, 1), Sequence(5, 1), Sequence(33, 1)]


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts as short as they can be, and a device that wants many."""
    monkeypatch.setattr(paged_triton, "LEAST_PART", 32)
    monkeypatch.setattr(paged_triton, "_processors", lambda device: 20)


def compact(given: Paged, rotated: int) -> Paged:
    """Other random keys and values at the same places, in compact rows."""
    layout = RowLayout(given.pool.layout.width, rotated)
    unread = given.pool.rows.isnan()[..., : layout.numbers]
    generator = torch.Generator().manual_seed(rotated)
    rows = torch.randn(unread.shape, generator=generator, dtype=torch.float64).masked_fill(unread, torch.nan)
    weight = torch.linspace(0.5, 2, layout.width, dtype=torch.float64)
    return replace(given, pool=PagePool(layout, rows, None, weight))


def by_triton(given: Paged) -> Tensor:
    def few(q: Tensor, pool: PagePool, sight: PageSight, out: Tensor) -> int:
        assert paged_triton.serves(q.dtype, pool)
        paged_triton.attend_few_rows(q, pool, sight, out)
        return FEW_ROWS

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paged_attention, "_attend_up_to", few)
        return attend_pages(given.q, given.pool, given.sight)


def int8(given: Paged) -> Paged:
    """The same step with its rows in int8, of which those that are not read are zeros."""
    pool = given.pool
    rows, scales = quantized(pool.rows.nan_to_num(), pool.layout.parts)
    return replace(given, pool=PagePool(pool.layout, rows, scales, pool.weight))


def check(given: Paged, dtype: torch.dtype, in_int8: bool = False) -> None:
    rounded = given.cast(dtype)
    exact = rounded.cast(torch.float64)
    if in_int8:
        rounded, exact = int8(rounded), int8(exact)
    want = attend_pages(exact.q, exact.pool, exact.sight)
    torch.testing.assert_close(by_triton(rounded).double(), want, atol=ERRORS[dtype], rtol=ERRORS[dtype])


@pytest.mark.parametrize("dtype", ERRORS, ids=str)
@pytest.mark.parametrize("rotated", [None, 8])
@pytest.mark.parametrize(("window", "in_int8"), [(None, False), (37, False), (37, True)])
def test_decode_rows_get_what_the_plain_form_gives(
    window: int | None, in_int8: bool, rotated: int | None, dtype: torch.dtype
) -> None:
    given = paged(DECODES, window, (8, 2), 32)
    check(given if rotated is None else compact(given, rotated), dtype, in_int8)


@pytest.mark.parametrize(("width", "rotated"), [(256, None), (512, None), (512, 128)])
def test_the_widths_of_the_real_models(width: int, rotated: int | None) -> None:
    given = paged([Sequence(40, 1)], None, (4, 1), width)
    check(given if rotated is None else compact(given, rotated), torch.float16)


@st.composite
def steps(draw: st.DrawFn) -> tuple[list[Sequence], int | None, tuple[int, int], int, int | None]:
    sequences = []
    for _ in range(draw(st.integers(1, 4))):
        length = draw(st.integers(1, 80))
        rows = draw(st.integers(1, min(length, FEW_ROWS + 2)))
        image = draw(st.none() | st.integers(length - rows, length - 1))
        sequences.append(Sequence(length, rows, image))
    window = draw(st.none() | st.integers(1, 50))
    if window is None:
        sequences = [replace(sequence, image=None) for sequence in sequences]
    heads = draw(st.sampled_from([(1, 1), (4, 2), (6, 2), (3, 3), (18, 1)]))
    width = draw(st.sampled_from([16, 32]))
    return sequences, window, heads, width, draw(st.sampled_from([None, width // 4, width // 2]))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(step=steps(), page=st.sampled_from([1, 3, 4, 16]), part_tokens=st.sampled_from([None, 32, 64]))
def test_any_step_gets_what_the_plain_form_gives(
    step: tuple[list[Sequence], int | None, tuple[int, int], int, int | None],
    page: int,
    part_tokens: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    *arguments, rotated = step
    monkeypatch.setattr(paging, "PAGE", page)
    given = paged(*arguments)
    given = replace(given, sight=replace(given.sight, part_tokens=part_tokens))
    check(given if rotated is None else compact(given, rotated), torch.float32)


def test_parts_of_fixed_length_give_a_row_the_same_bits_alone_and_in_any_company() -> None:
    given = paged(DECODES, None, (4, 2), 16).cast(torch.float32)
    together = replace(given, sight=replace(given.sight, part_tokens=32))
    want = by_triton(together)
    for row in range(len(DECODES)):
        sight = together.sight.take(torch.tensor([row]), len(DECODES))
        held = -(-DECODES[row].length // paging.PAGE)
        alone = replace(
            together, q=given.q[row : row + 1], sight=replace(sight, tables=sight.tables[:, :held])
        )
        assert torch.equal(by_triton(alone)[0], want[row])


def test_a_prompt_alone_is_left_to_the_plain_form() -> None:
    check(paged([Sequence(30, FEW_ROWS + 1)], None, (4, 2), 16), torch.float32)


def test_padding_reads_the_scratch_slot_and_harms_nobody() -> None:
    """A row that sees one key takes its value; a row that sees none gets zeros; the others what they had."""
    given = paged(DECODES, None, (4, 2), 16).cast(torch.float32)
    given.pool.rows[0] = 3.0
    want = by_triton(given)
    sight, nothing = given.sight, torch.zeros(2, dtype=torch.int32)
    padded = replace(
        sight,
        tables=torch.cat((sight.tables, sight.tables.new_zeros(2, sight.tables.shape[1]))),
        first=torch.cat((sight.first, nothing)),
        lows=torch.cat((sight.lows, nothing)),
        highs=torch.cat((sight.highs, torch.tensor([1, 0], dtype=torch.int32))),
        starts=torch.arange(6, dtype=torch.int32),
    )
    got = by_triton(replace(given, q=torch.cat((given.q, given.q[:2])), sight=padded))
    assert torch.equal(got[:3], want)
    assert (got[3] == 3.0).all()
    assert (got[4] == 0.0).all()


MUTANTS: dict[str, Callable[[PageSight], PageSight]] = {
    "a window that is one too short": lambda sight: replace(sight, lows=sight.lows + 1),
    "a row that does not see itself": lambda sight: replace(sight, highs=sight.highs - 1),
    "a page that is another's": lambda sight: replace(sight, tables=sight.tables.roll(1, 1)),
    "a table that begins one page later": lambda sight: replace(sight, first=sight.first + 4),
    "a neighbour's table": lambda sight: replace(sight, tables=sight.tables.flip(0)),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_small_mistakes_are_seen(mutant: str) -> None:
    given = paged([Sequence(40, 1), Sequence(41, 1)], 19, (4, 2), 16)
    want = attend_pages(given.q, given.pool, given.sight)
    wrong = by_triton(replace(given, sight=MUTANTS[mutant](given.sight)).cast(torch.float32))
    assert not (wrong - want).abs().max() < 100 * ERRORS[torch.float32]


def test_what_the_kernels_are_not_made_for_is_left_to_the_plain_form() -> None:
    given = paged(DECODES, None, (4, 2), 16)
    assert not paged_triton.serves(given.q.dtype, given.pool)  # float64
    small = given.cast(torch.float16)
    assert paged_triton.serves(small.q.dtype, small.pool)
    wide = paged(DECODES, None, (4, 2), 48).cast(torch.float16)
    assert not paged_triton.serves(wide.q.dtype, wide.pool)
    assert not paged_triton.serves(torch.bfloat16, small.pool)
    assert paged_triton.serves(torch.bfloat16, int8(small).pool)


def test_a_long_context_alone_is_cut_into_many_parts_and_a_batch_into_none() -> None:
    sight = paged([Sequence(400, 1)], None, (4, 2), 16).sight
    alone = paged_triton._num_parts(2, sight, sight.tables.device)
    assert (alone, paged_triton._num_parts(64, sight, sight.tables.device)) == (13, 1)


@pytest.mark.parametrize("capability", [89, 90])
def test_the_kernels_compile_for_real_gpus_within_their_limits(capability: int) -> None:
    """An RTX 4090 and an H200, which need not be here: no spilled registers, 99 KiB of shared memory."""
    command = [sys.executable, "-m", "tests.kernels.compile_triton", str(capability)]
    ran = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TRITON_INTERPRET": "0"})
    assert ran.returncode == 0, ran.stderr
    kernels = [
        dict(zip(("shared", "spilled"), map(int, line.split()), strict=True))
        for line in ran.stdout.splitlines()
    ]
    assert len(kernels) == 7
    assert all(kernel["shared"] <= 99 * 1024 and kernel["spilled"] == 0 for kernel in kernels), ran.stdout
