"""The measurement's own code on tiny shapes; whether it predicts well, `python -m bench.fit` says."""

import pytest
import torch

from gemcut.fit import measure
from gemcut.fit.measure import Trial
from gemcut.fit.weights import FORMS, PRECISIONS, Precision
from gemcut.kernels.blocks import from_blocks, to_blocks
from gemcut.kernels.gate import gelu_times

CPU = torch.device("cpu")
TINY = Trial(64, 128, 2**18)


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "ON_CPU", TINY)
    for name in ("READ_S", "MULTIPLY_S"):
        monkeypatch.setattr(measure, name, 0.001)
    for name in ("SMALL_TIMES", "ROW_TIMES"):
        monkeypatch.setattr(measure, name, 10)


@pytest.mark.usefixtures("_quick")
def test_every_form_has_its_rates() -> None:
    rates = measure.measure(CPU)
    assert set(rates.read) == set(rates.multiply) == set(PRECISIONS)
    every = (*rates.read.values(), *rates.multiply.values(), rates.layer_s, rates.row_s)
    assert all(rate > 0 for rate in every)


@pytest.mark.usefixtures("_quick")
def test_memory_is_read_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, read = 0.5, []
    monkeypatch.setattr(measure, "_seconds", lambda parts, x, least: read.append(parts[0](x)) or seconds)
    assert measure.read_rate(CPU) == TINY.all_bytes / seconds
    assert [int(total) for total in read] == [TINY.all_bytes // 8]  # a one in every eight bytes


@pytest.mark.parametrize("form", PRECISIONS)
def test_what_is_measured_is_a_feed_forward_of_all_its_weights(form: Precision) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = [
        (0.1 * torch.randn(shape, generator=generator)).bfloat16()
        for shape in ((128, 64), (128, 64), (64, 128))
    ]
    blocks = FORMS[form]
    if blocks is None:
        stored = [weight.view(torch.uint8) for weight in weights]
    else:
        stored = [to_blocks(weight, blocks) for weight in weights]
        weights = [from_blocks(weight, blocks, torch.bfloat16) for weight in stored]
    buffer = torch.cat([weight.flatten() for weight in stored])
    assert len(buffer) == sum(TINY.weight_bytes(form))
    (run,) = measure._feed_forwards(buffer, TINY, form)
    x = torch.randn((3, 64), generator=generator).bfloat16()
    gate, up, down = weights
    wanted = gelu_times(x @ gate.T, x @ up.T) @ down.T
    torch.testing.assert_close(run(x), wanted, atol=0.05, rtol=0.05)


def test_the_buffer_holds_more_than_caches_do() -> None:
    assert measure.ON_CPU.all_bytes >= 2**28
    assert 4 * sum(measure.ON_CPU.weight_bytes("bf16")) < measure.ON_CPU.all_bytes
    assert sum(measure.ON_GPU.weight_bytes("bf16")) < measure.ON_GPU.all_bytes
    assert measure.ON_CPU.operations == 2 * 3 * 1536 * 6144
