"""Products with weights in blocks: of the exact values, and of rows rounded to int8."""

import pytest
import torch
from torch import Tensor

from gemcut.config import BlockForm
from gemcut.kernels.block_layout import BLOCK_BYTES, row_bytes
from gemcut.kernels.block_linear import TILED_ROWS, block_linear, widened
from gemcut.kernels.blocks import from_blocks, to_blocks
from gemcut.kernels.native import Native

FORMS: tuple[BlockForm, ...] = ("int4", "int8")
BITS = {"int4": 4, "int8": 8}
HALF_UNIT = 2.0**-24  # the relative error of a float32 operation
OF_ROUNDING = {torch.float32: HALF_UNIT, torch.bfloat16: 2.0**-8}
SHAPES = [(32, 1), (64, 3), (96, 17), (1536, 40), (4128, 33), (512, 130)]  # in, out

each_form = pytest.mark.parametrize("form", FORMS)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def any_blocks(rows: int, width: int, form: BlockForm, seed: int = 0) -> Tensor:
    """Blocks of any numbers, -128 too, with scales of both signs and of every size that is finite."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, 256, (rows, width // 32, BLOCK_BYTES[form]), generator=generator)
    scales = (torch.randn(rows, width // 32, 1, generator=generator) * 3).exp().clamp(max=65504).half()
    scales *= torch.randint(0, 2, scales.shape, generator=generator) * 2 - 1
    scales.view(-1)[::7] = 0
    scales.view(-1)[::11] = 65504
    scales.view(-1)[::13] = 2.0**-24  # the least that float16 has
    blocks = blocks.to(torch.uint8)
    blocks[..., :2] = scales.view(torch.uint8)
    return blocks.flatten(1)


def as_native_rounds(x: Tensor) -> tuple[Tensor, Tensor]:
    """What native code makes of rows, in float64, and the scales that it has for each value."""
    pieces = x.float().view(len(x), -1, 32)
    scales = pieces.abs().amax(-1, keepdim=True) / 127
    inverse = torch.where(scales < torch.finfo(torch.float32).tiny, 0.0, 1 / scales)
    numbers = (pieces.double() * inverse.double()).round()
    assert numbers.abs().max() <= 127
    return (numbers * scales).flatten(1), scales.expand_as(pieces).double().flatten(1)


def assert_is_product(got: Tensor, x: Tensor, weight: Tensor) -> None:
    """Within what float32 sums of the blocks' products can be off, and a rounding to x's dtype.

    A block adds three roundings (of the scales' product, of that times a whole number, of the sum), and the
    whole number one where it has more bits than float32.
    """
    want = x @ weight.T
    terms = x.abs() @ weight.abs().T
    limit = (x.shape[1] / 32 + 4) * HALF_UNIT * terms + OF_ROUNDING[got.dtype] * want.abs() + 1e-36
    assert ((got.double() - want).abs() <= limit).all()


@each_form
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_plain_form_gives_the_product_of_the_values(form: BlockForm, dtype: torch.dtype) -> None:
    x, blocks = noise(7, 96, seed=5).to(dtype), to_blocks(noise(40, 96), form)
    ours = widened(x, blocks, form)
    theirs = x.double() @ from_blocks(blocks, form, torch.float64).T
    limits = {torch.float64: 1e-13, torch.float32: 1e-5, torch.bfloat16: 8e-3}
    assert ours.dtype == dtype
    torch.testing.assert_close(ours.double(), theirs, atol=limits[dtype], rtol=limits[dtype])


def test_the_plain_form_of_more_outputs_than_a_slice_holds_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    x, blocks = noise(3, 64, seed=5), to_blocks(noise(45, 64), "int4")
    whole = widened(x, blocks, "int4")
    monkeypatch.setattr("gemcut.kernels.block_linear.SLICE_VALUES", 64 * 7)
    torch.testing.assert_close(widened(x, blocks, "int4"), whole)


@each_form
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("inner", "out"), SHAPES)
@pytest.mark.parametrize("rows", [*range(1, 9), 31, 32, 33, 70])
def test_the_native_form_multiplies_rounded_rows_exactly(
    built: Native, form: BlockForm, dtype: torch.dtype, inner: int, out: int, rows: int
) -> None:
    x = (noise(rows, inner, seed=rows) * noise(rows, 1, seed=1).exp()).to(dtype)
    for blocks in (to_blocks(noise(out, inner, seed=2), form), any_blocks(out, inner, form)):
        got = built.block_product(x, blocks, BITS[form])
        assert (got.dtype, got.shape) == (dtype, (rows, out))
        assert_is_product(got, as_native_rounds(x)[0], from_blocks(blocks, form, torch.float64))


@each_form
@pytest.mark.parametrize("rows", [1, 5, 32])
def test_the_native_form_is_off_by_the_rounding_of_rows_alone(
    built: Native, form: BlockForm, rows: int
) -> None:
    """No value is off by more than half of its scale."""
    x, blocks = noise(rows, 512, seed=rows), to_blocks(noise(65, 512), form)
    weight = from_blocks(blocks, form, torch.float64)
    far = (built.block_product(x, blocks, BITS[form]).double() - x.double() @ weight.T).abs()
    limit = (as_native_rounds(x)[1] / 2 + x.abs() * (512 / 32 + 4) * HALF_UNIT) @ weight.abs().T
    assert (far <= limit).all()


@each_form
def test_rounding_rows_costs_half_a_percent_of_normal_values(built: Native, form: BlockForm) -> None:
    x, blocks = noise(32, 1536, seed=3), to_blocks(noise(256, 1536), form)
    want = x.double() @ from_blocks(blocks, form, torch.float64).T
    got = built.block_product(x, blocks, BITS[form])
    error = ((got - want).square().mean().sqrt() / want.square().mean().sqrt()).item()
    assert 0.0050 < error < 0.0060


@each_form
@pytest.mark.parametrize(("inner", "out"), SHAPES)
def test_the_native_form_gives_a_row_the_same_alone_and_among_others(
    built: Native, form: BlockForm, inner: int, out: int
) -> None:
    x, blocks = noise(67, inner).bfloat16(), any_blocks(out, inner, form)
    alone = torch.cat([built.block_product(row[None], blocks, BITS[form]) for row in x])
    for rows in (2, 3, 31, 32, 33, 64, 67):
        assert built.block_product(x[:rows], blocks, BITS[form]).equal(alone[:rows])


@each_form
def test_whole_numbers_of_extreme_size_are_added_without_loss(built: Native, form: BlockForm) -> None:
    """All weights the least or the greatest, all of x ±127: nothing on the way is cut off."""
    least, greatest = (0x00, 0xFF) if form == "int4" else (0x80, 0x7F)
    blocks = torch.empty(2, 2, BLOCK_BYTES[form], dtype=torch.uint8)
    blocks[..., :2] = torch.ones(1, dtype=torch.float16).view(torch.uint8)
    blocks[0, :, 2:], blocks[1, :, 2:] = least, greatest
    x = torch.full((3, 64), 127.0)
    x[1] = -127.0
    x[2, ::2] = -127.0
    want = x.double() @ from_blocks(blocks.flatten(1), form, torch.float64).T
    assert built.block_product(x, blocks.flatten(1), BITS[form]).double().equal(want)


@each_form
@pytest.mark.parametrize("bad", [torch.inf, -torch.inf, torch.nan])
def test_what_is_not_finite_never_becomes_finite(built: Native, form: BlockForm, bad: float) -> None:
    x, blocks = noise(3, 96), to_blocks(noise(9, 96), form)
    x[1, 40] = bad
    got = built.block_product(x, blocks, BITS[form])
    assert got[1].isnan().all()
    assert got[::2].isfinite().all()
    blocks[4, BLOCK_BYTES[form] :][:2] = torch.tensor([bad]).half().view(torch.uint8)
    x[2, 32:64] = 0
    got = built.block_product(x, blocks, BITS[form])[::2]
    assert not got[:, 4].isfinite().any()
    assert got[:, torch.arange(9) != 4].isfinite().all()


@each_form
@pytest.mark.parametrize("size", [0.0, 1e-45, 1e-38, 1e-36, 1e30])
def test_rows_of_any_size_are_rounded(built: Native, form: BlockForm, size: float) -> None:
    x, blocks = noise(2, 64) * size, to_blocks(noise(5, 64), form)
    got = built.block_product(x, blocks, BITS[form])
    assert_is_product(got, as_native_rounds(x)[0], from_blocks(blocks, form, torch.float64))


@each_form
@pytest.mark.parametrize("offset", [1, 2, 6, 31])
def test_blocks_may_begin_anywhere_and_rows_of_x_lie_apart(
    built: Native, form: BlockForm, offset: int
) -> None:
    """As they do in a mapped file, at the cuts of fused weights."""
    blocks = to_blocks(noise(19, 96), form)
    memory = torch.zeros(offset + blocks.numel(), dtype=torch.uint8)
    memory[offset:] = blocks.flatten()
    x = noise(8, 96).bfloat16()
    want = built.block_product(x[::2].clone(), blocks, BITS[form])
    assert built.block_product(x[::2], memory[offset:].view(blocks.shape), BITS[form]).equal(want)


@each_form
@pytest.mark.parametrize(("rows", "inner", "out"), [(0, 64, 5), (5, 64, 0), (5, 0, 3), (1, 0, 3)])
def test_nothing_times_something_is_nothing(
    built: Native, form: BlockForm, rows: int, inner: int, out: int
) -> None:
    blocks = torch.empty(out, row_bytes(inner, form), dtype=torch.uint8)
    got = built.block_product(torch.zeros(rows, inner), blocks, BITS[form])
    assert got.equal(torch.zeros(rows, out))
    assert built.widen_blocks(blocks, BITS[form]).shape == (out, inner)


@each_form
def test_several_threads_give_what_one_gives(built: Native, form: BlockForm) -> None:
    x, blocks = noise(40, 96), to_blocks(noise(300, 96), form)
    alone = built.block_product(x, blocks, BITS[form])
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert built.block_product(x, blocks, BITS[form]).equal(alone)
    finally:
        torch.set_num_threads(threads)


@each_form
def test_native_code_multiplies_bfloat16_and_float32_where_no_gradients_are_wanted(
    built: Native, form: BlockForm
) -> None:
    x, blocks = noise(4, 64), to_blocks(noise(9, 64), form)
    with torch.inference_mode():
        for dtype in (torch.float32, torch.bfloat16):
            assert block_linear(x.to(dtype), blocks, form).equal(
                built.block_product(x.to(dtype), blocks, BITS[form])
            )
        for exact in (x.double(), x.half()):
            assert block_linear(exact, blocks, form).equal(widened(exact, blocks, form))
        apart = torch.stack((blocks, blocks), dim=1)[:, 0]
        assert block_linear(x, apart, form).equal(widened(x, blocks, form))
    x.requires_grad_()
    block_linear(x, blocks, form).sum().backward()
    torch.testing.assert_close(x.grad, from_blocks(blocks, form, torch.float32).sum(0).expand(4, 64))


@each_form
def test_blocks_are_widened_to_their_values(built: Native, form: BlockForm) -> None:
    blocks = any_blocks(37, 96, form)
    assert built.widen_blocks(blocks, BITS[form]).equal(from_blocks(blocks, form, torch.bfloat16))


@each_form
def test_prompts_go_through_bfloat16_where_there_are_tiles(
    built: Native, form: BlockForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is as exact as bfloat16 is; the slices of weights are made small here."""
    monkeypatch.setattr("gemcut.kernels.block_linear.SLICE_VALUES", 96 * 7)
    blocks = to_blocks(noise(40, 96), form)
    weight = from_blocks(blocks, form, torch.bfloat16)
    for tiles in (False, True):
        monkeypatch.setattr("gemcut.kernels.block_linear.has_tiles", lambda tiles=tiles: tiles)
        for rows in (TILED_ROWS - 1, TILED_ROWS):
            x = noise(rows, 96, seed=5).bfloat16()
            with torch.inference_mode():
                got = block_linear(x, blocks, form)
            if tiles and rows == TILED_ROWS:
                want = (x.double() @ weight.double().T).bfloat16()
                torch.testing.assert_close(got, want, atol=2**-6, rtol=2**-7)
            else:
                assert got.equal(built.block_product(x, blocks, BITS[form]))
