"""Blocks of weights: the bytes are those of GGUF, and rows of tables those of the values they stand for."""

import gguf
import numpy as np
import pytest
import torch
from torch import Tensor

from gemcut.config import BlockForm
from gemcut.kernels.block_layout import row_bytes
from gemcut.kernels.blocks import block_rows, block_scales, from_blocks, to_blocks

TYPES = {"int4": gguf.GGMLQuantizationType.Q4_0, "int8": gguf.GGMLQuantizationType.Q8_0}
FORMS: tuple[BlockForm, ...] = ("int4", "int8")


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def awkward() -> Tensor:
    """Blocks of zeros, of equal values, of extremes in both signs, of halves, and next to nothing."""
    rows = [
        torch.zeros(32),
        torch.full((32,), -3.25),
        torch.tensor([1.0, -1.0] * 16),
        torch.tensor([-1.0, 1.0] * 16),
        torch.arange(-16, 16) / 2,
        torch.arange(-15.5, 16.5),
        torch.cat((torch.tensor([127.0]), torch.arange(31) + 0.5)),
        torch.cat((torch.tensor([-127.0]), -torch.arange(31) - 0.5)),
        noise(32) * 1e-7,
        noise(32) * 1e4,
    ]
    return torch.stack(rows)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_bytes_are_those_of_the_gguf_package(form: BlockForm, dtype: torch.dtype) -> None:
    for weight in (noise(48, 96), noise(1, 32, seed=1), noise(700, 3200, seed=2)[::7], awkward()):
        stored = weight.to(dtype)
        theirs = gguf.quants.quantize(stored.float().numpy(), TYPES[form])
        np.testing.assert_array_equal(to_blocks(stored, form).numpy(), theirs)


@pytest.mark.parametrize("form", FORMS)
def test_every_block_means_what_the_gguf_package_reads(form: BlockForm) -> None:
    blocks = torch.randint(0, 256, (40, row_bytes(64, form)), generator=torch.Generator().manual_seed(3))
    blocks = blocks.to(torch.uint8)  # random bits: scales of every size, infinite ones too
    with np.errstate(invalid="ignore"):
        theirs = gguf.quants.dequantize(blocks.numpy(), TYPES[form])
    np.testing.assert_array_equal(from_blocks(blocks, form, torch.float32).numpy(), theirs)


@pytest.mark.parametrize("form", FORMS)
def test_values_that_fit_come_back_unchanged(form: BlockForm) -> None:
    most = 8 if form == "int4" else 127
    numbers = torch.randint(-most, most, (5, 64), generator=torch.Generator().manual_seed(4)).float()
    numbers[:, ::32] = -most
    weight = numbers * 0.03125
    torch.testing.assert_close(
        from_blocks(to_blocks(weight, form), form, torch.float32), weight, atol=0, rtol=0
    )


@pytest.mark.parametrize("form", FORMS)
def test_values_next_to_nothing_become_nothing(form: BlockForm) -> None:
    """Their scale has no reciprocal in float32: it would be infinite."""
    blocks = to_blocks(torch.full((1, 32), 1e-44), form)
    assert from_blocks(blocks, form, torch.float32).eq(0).all()


def test_int8_is_an_order_closer_than_int4() -> None:
    weight = noise(64, 256)
    far = {
        form: (from_blocks(to_blocks(weight, form), form, torch.float32) - weight).pow(2).mean().sqrt().item()
        for form in FORMS
    }
    assert 0.05 < far["int4"] < 0.12
    assert far["int8"] < far["int4"] / 12


@pytest.mark.parametrize("form", FORMS)
def test_leading_dimensions_stay(form: BlockForm) -> None:
    weight = noise(3, 5, 64)
    blocks = to_blocks(weight, form)
    assert blocks.shape == (3, 5, row_bytes(64, form))
    for expert in range(3):
        torch.testing.assert_close(blocks[expert], to_blocks(weight[expert], form), atol=0, rtol=0)
    assert from_blocks(blocks, form, torch.float32).shape == weight.shape


def test_more_rows_than_a_slice_holds_are_all_put_into_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = to_blocks(noise(45, 64), "int4")
    monkeypatch.setattr("gemcut.kernels.blocks.SLICE_VALUES", 64 * 7)
    torch.testing.assert_close(to_blocks(noise(45, 64), "int4"), whole, atol=0, rtol=0)


@pytest.mark.parametrize("form", FORMS)
def test_rows_of_a_table_are_those_of_its_values(form: BlockForm) -> None:
    blocks, ids = to_blocks(noise(20, 32), form), torch.tensor([19, 0, 7, 7])
    values = from_blocks(blocks, form, torch.bfloat16)
    torch.testing.assert_close(block_rows(ids, blocks, form, torch.bfloat16), values[ids], atol=0, rtol=0)


def test_a_weight_that_is_no_number_shows_in_its_scale() -> None:
    for bad in (torch.inf, torch.nan, 1e9):
        weight = noise(2, 64)
        weight[1, 40] = bad
        for form in FORMS:
            finite = block_scales(to_blocks(weight, form), form).isfinite()
            assert finite.tolist() == [[True, True], [True, False]]
