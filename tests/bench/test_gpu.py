"""The GPU benchmark's own code, on a tiny model on the CPU; its figures need a GPU."""

from dataclasses import replace

import pytest
import torch

from bench import gpu
from tests.parity.tiny import TINY

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "PREFILL", 32)


@pytest.mark.parametrize("name", ["e2b", "26b"])
def test_both_sides_are_measured(name: str) -> None:
    text = replace(TINY[name], vocab_size=320)
    model = gpu.build_ours(text, CPU)
    ours = gpu.measure_ours(model, [8, 40], 2, CPU)
    theirs = gpu.measure_theirs(text, [8, 40], 2, CPU)
    assert theirs is not None
    sizes = {context: gpu.read_bytes(model, context) for context in (8, 40)}
    printed = gpu.lines(name, sizes, ours, theirs, 1e9)
    assert [line.split(":")[0] for line in printed] == [
        f"{name}  prefill     32",
        f"{name}  decode at     8",
        f"{name}  decode at    40",
    ]


@pytest.mark.parametrize("name", ["e2b", "26b", "31b"])
def test_steps_over_pages_are_measured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = replace(TINY[name], vocab_size=320)
    model = gpu.build_ours(text, CPU)
    recorder = None if text.experts is not None else lambda run: run
    monkeypatch.setattr(gpu, "recorder_for", lambda model, cache: recorder)
    found = list(gpu.measure_paged(model, [1, 3], 40, 1e9, CPU))
    assert [decode.batch for decode, _ in found] == [1, 3]
    for decode, attended in found:
        assert (decode.recorded_s is None) == (name == "26b")
        assert decode.line(name).startswith(f"{name}  batch {decode.batch:4}:")
        compact = "" if name == "e2b" else ", compact"
        layers = [f"full attention{compact}, 40 keys", "sliding attention, 24 keys"]
        assert sorted(each.layer for each in attended) == layers
        assert all("x the plain form" in each.line(name, 1e9) for each in attended)


def test_every_sequence_of_a_batch_has_pages_of_its_own() -> None:
    bench = gpu.paged.Bench(gpu.build_ours(replace(TINY["31b"], vocab_size=320), CPU), 3, 30)
    for kind, sight in bench.step.sights.items():
        pages = sight.tables[:, :2].flatten().tolist()  # 30 tokens in pages of 16
        assert sorted(pages) == [1, 2, 3, 4, 5, 6], kind
        assert (sight.highs - sight.lows).tolist() == [30 if kind == "full_attention" else 24] * 3


def test_a_batch_touches_more_experts_than_a_token() -> None:
    mixed = gpu.build_ours(TINY["26b"], CPU)
    experts = sum(2 * p.numel() for n, p in mixed.named_parameters() if ".experts." in n)
    rest = sum(2 * p.numel() for p in mixed.parameters()) - experts
    assert gpu.weight_bytes(mixed, 2) == pytest.approx(rest + experts * (1 - 0.75**2), rel=1e-3)


def test_a_token_reads_its_experts_only_and_no_per_layer_table() -> None:
    text = TINY["26b"]
    assert text.experts is not None
    mixed = gpu.build_ours(text, CPU)
    experts = sum(2 * p.numel() for n, p in mixed.named_parameters() if ".experts." in n)
    everything = sum(2 * p.numel() for p in mixed.parameters())
    assert gpu.read_bytes(mixed, 0) == everything - experts + experts * 4 // 16
    edge = gpu.build_ours(TINY["e2b"], CPU)
    table = 2 * edge.model.language_model.embed_tokens_per_layer.weight.numel()
    assert gpu.read_bytes(edge, 0) == sum(2 * p.numel() for p in edge.parameters()) - table


def test_a_context_that_transformers_cannot_hold_has_no_ratio() -> None:
    ours, theirs = gpu.Result(1.0, {8: 0.5, 40: 0.5}), gpu.Result(2.0, {8: 1.0})
    printed = gpu.lines("31b", {8: 10, 40: 10}, ours, theirs, 100.0)
    assert ["2.00x transformers" in line for line in printed] == [True, True, False]


def test_without_a_gpu_it_says_that_it_did_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["gpu"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu.main()
    assert capsys.readouterr().out == "no CUDA GPU here: nothing was measured\n"
