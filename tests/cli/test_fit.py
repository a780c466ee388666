import json
from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from gemcut.cli.main import build_app
from gemcut.engine.main_memory import MainMemory
from gemcut.fit.estimate import Place
from gemcut.fit.here import Here
from gemcut.fit.machine import Gpu, Machine, Processor
from gemcut.fit.rates import Rates
from gemcut.fit.weights import PRECISIONS

MEMORY = MainMemory(total_bytes=24_700_000_000, free_bytes=22_800_000_000)
RATES = Rates(read=dict.fromkeys(PRECISIONS, 25e9), multiply=dict.fromkeys(PRECISIONS, 140e9), layer_s=1e-4)
CPU = Processor(name="AMD EPYC", cores=2, instructions=("AVX2",))
GPU = Gpu(name="NVIDIA GeForce RTX 4090", memory=MainMemory(total_bytes=24 * 2**30, free_bytes=23 * 2**30))


def fit(*options: str) -> Result:
    return CliRunner().invoke(build_app(), ["fit", *options])


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Callable[[Here], None]:
    """Takes this machine for another one."""
    return lambda here: monkeypatch.setattr("gemcut.cli.fit.look_here", lambda device: here)


def seen(*gpus: Gpu, rates: Rates | None = RATES) -> Here:
    return Here(
        machine=Machine(processor=CPU, memory=MEMORY, gpus=gpus),
        place=Place(kind="cpu", memory=MEMORY, rates=rates),
        measured_s=None if rates is None else 1.94,
    )


def test_it_says_what_it_measured(look: Callable[[Here], None]) -> None:
    look(seen())
    lines = fit().stdout.splitlines()
    assert lines[:5] == [
        "AMD EPYC, 2 cores (AVX2)",
        "24.7 GB of memory, 22.8 GB free",
        "Measured on the CPU in 1.9 s:",
        "  weights read, GB/s: 25 in bf16, 25 in int8, 25 in int4",
        "  multiplied, GFLOP/s: 140 in bf16, 140 in int8, 140 in int4",
    ]
    assert any(line.startswith("✓ e2b   bf16  4.56 GB     128K") for line in lines)


def test_a_gpu_that_torch_cannot_use_is_named(look: Callable[[Here], None]) -> None:
    look(seen(GPU))
    printed, asked = fit().stdout, fit("--device", "cpu").stdout
    assert "NVIDIA GeForce RTX 4090: 25.8 GB, 24.7 GB free" in printed
    assert "Those figures are of the CPU: torch does not use that GPU." in printed
    assert "torch does not use" not in asked


def test_without_torch_it_says_that_nothing_was_measured(look: Callable[[Here], None]) -> None:
    look(seen(rates=None))
    assert "torch is not installed here, so nothing was measured" in fit().stdout


def test_json_has_the_machine_the_rates_and_every_size(look: Callable[[Here], None]) -> None:
    look(seen(GPU))
    told = json.loads(fit("--json").stdout)
    assert told["machine"]["processor"] == {"name": "AMD EPYC", "cores": 2, "instructions": ["AVX2"]}
    assert told["machine"]["gpus"][0]["memory"]["total_bytes"] == 24 * 2**30
    assert told["memory"]["free_bytes"] == 22_800_000_000
    assert told["rates"]["read"]["int4"] == 25e9
    assert len(told["models"]) == 18
    e2b = next(one for one in told["models"] if (one["model"], one["precision"]) == ("e2b", "bf16"))
    assert e2b["verdict"] == "fits"
    assert (e2b["text_bytes"], e2b["media_bytes"]) == (4_559_518_278, 951_458_176)
    assert e2b["per_layer_table_bytes"] == 4_697_620_480
    assert e2b["context_tokens"] == 131_072
    assert 5.3 < e2b["decode_tokens_per_s"] < 5.5
    assert {one["task"]: one["model"] for one in told["advice"]}["code"] == "26b"


def test_a_device_is_answered_for_without_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemcut.cli.fit.look_here", lambda device: pytest.fail("it was measured"))
    lines = fit("--for", "m2 max 64").stdout.splitlines()
    assert lines[:4] == [
        'Apple M2 Max, 64 GB (also sold with 32 and 96: --for "m2-max 32")',
        "400 GB/s and 13.6 TFLOP/s, of which programs usually reach",
        "80% and 50%; nothing was measured.  Source:",
        "https://hmc-tech.com/gpu",
    ]
    told = json.loads(fit("--for", "4090", "--json").stdout)
    assert told["device"]["title"] == "GeForce RTX 4090"
    assert told["kind"] == "gpu"
    assert told["memory"]["total_bytes"] == 24 * 2**30


def test_a_context_that_is_asked_for_must_fit() -> None:
    def verdicts(*options: str) -> dict[tuple[str, str], str]:
        told = json.loads(fit("--for", "4090", "--json", *options).stdout)
        return {(one["model"], one["precision"]): one["verdict"] for one in told["models"]}

    assert verdicts()["31b", "int4"] == "fits"
    asked = verdicts("--context", "131072")
    assert asked["31b", "int4"] == "does not fit"
    assert asked["26b", "int4"] == "fits"
    assert asked["nano", "bf16"] == "does not fit"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--for", "4900"], "error: no device '4900' is known here; the nearest are 4070, 4080, 4090;"),
        (["--context", "0"], "error: --context is 0; the models are made for 1 to 262,144 tokens"),
        (["--context", "300000"], "error: --context is 300,000; the models are made for 1 to 262,144 tokens"),
        (
            ["--for", "l4", "--device", "cpu"],
            "error: --for 'l4' is about another machine and --device cpu about",
        ),
        (["--device", "abacus"], "error: device 'abacus' cannot be used here"),
    ],
)
def test_what_cannot_be_answered_is_an_error_in_one_line(options: list[str], said: str) -> None:
    refused = fit(*options)
    assert refused.exit_code == 2
    assert refused.stdout == ""
    assert refused.stderr.startswith(said)
    assert refused.stderr.count("\n") == 1
