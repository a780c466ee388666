import json
from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from gemcut.cli.main import build_app
from gemcut.engine.main_memory import MainMemory
from gemcut.fit.estimate import Place, PlaceKind
from gemcut.fit.here import Here
from gemcut.fit.machine import Gpu, Machine, Processor
from gemcut.fit.rates import Rates
from gemcut.fit.weights import PRECISIONS

MEMORY = MainMemory(total_bytes=24_700_000_000, free_bytes=22_800_000_000)
RATES = Rates(
    read=dict.fromkeys(PRECISIONS, 25e9), multiply=dict.fromkeys(PRECISIONS, 140e9), layer_s=1e-4, row_s=0.0
)
CPU = Processor(name="AMD EPYC", cores=2, instructions=("AVX2",))
GPU = Gpu(name="NVIDIA GeForce RTX 4090", memory=MainMemory(total_bytes=24 * 2**30, free_bytes=23 * 2**30))


def fit(*options: str) -> Result:
    return CliRunner().invoke(build_app(), ["fit", *options])


def words(*options: str) -> str:
    """What is printed, without its line breaks."""
    return " ".join(fit(*options).stdout.split())


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Callable[[Here], None]:
    """Takes this machine for another one."""
    return lambda here: monkeypatch.setattr("gemcut.cli.fit.look_here", lambda device: here)


def seen(*gpus: Gpu, kind: PlaceKind = "cpu") -> Here:
    return Here(
        machine=Machine(processor=CPU, memory=MEMORY, gpus=gpus),
        place=Place(kind=kind, memory=MEMORY, rates=RATES),
        measured_on="CPU" if kind == "cpu" else f"{gpus[0].name}, cuda:0",
        measured_s=1.94,
    )


def test_it_says_what_it_measured(look: Callable[[Here], None]) -> None:
    look(seen())
    lines = fit().stdout.splitlines()
    assert lines[:6] == [
        "AMD EPYC, 2 cores",
        "  AVX2",
        "24.7 GB of memory, 22.8 GB free",
        "Measured on the CPU in 1.9 s:",
        "  weights read, GB/s: 25 in bf16, 25 in int8, 25 in int4",
        "  multiplied, GFLOP/s: 140 in bf16, 140 in int8, 140 in int4",
    ]
    assert any(line.startswith("✓ e2b   bf16  4.56 GB     128K") for line in lines)


def test_a_gpu_that_torch_cannot_use_is_named(look: Callable[[Here], None]) -> None:
    look(seen(GPU))
    printed, asked = words(), words("--device", "cpu")
    assert "NVIDIA GeForce RTX 4090: 25.8 GB, 24.7 GB free" in printed
    assert 'Those figures are of the CPU: torch does not use the GPU; --for "4090" tells' in printed
    assert "torch does not use" not in asked


def test_a_gpu_that_the_table_does_not_know_is_not_asked_about(look: Callable[[Here], None]) -> None:
    look(seen(Gpu(name="NVIDIA GB10", memory=None)))
    printed = words()
    assert "NVIDIA GB10: shares it" in printed
    assert "torch does not use the GPU." in printed


def test_of_two_gpus_it_says_that_one_is_used(look: Callable[[Here], None]) -> None:
    look(seen(GPU, GPU, kind="gpu"))
    one = "gemcut runs a model on one GPU, here NVIDIA GeForce RTX 4090, cuda:0; --device asks for another."
    assert one in words()
    assert json.loads(fit("--json").stdout)["notes"] == [one]
    look(seen(GPU, kind="gpu"))
    assert "runs a model on one GPU" not in fit().stdout


def test_json_has_the_machine_the_rates_and_every_size(look: Callable[[Here], None]) -> None:
    look(seen(GPU))
    told = json.loads(fit("--json").stdout)
    assert told["machine"]["processor"] == {"name": "AMD EPYC", "cores": 2, "instructions": ["AVX2"]}
    assert told["machine"]["gpus"][0]["memory"]["total_bytes"] == 24 * 2**30
    assert (told["machine"]["measured_on"], told["context_asked"]) == ("CPU", None)
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
    assert lines[:5] == [
        "Apple M2 Max, 64 GB, of which models get 75%",
        'Also sold with 32 and 96 GB: --for "m2-max 32"',
        "400 GB/s and 13.6 TFLOP/s, of which programs usually reach",
        "80% and 50%; nothing was measured.  Source:",
        "https://hmc-tech.com/gpu",
    ]
    told = json.loads(fit("--for", "4090", "--json").stdout)
    assert told["device"]["title"] == "GeForce RTX 4090"
    assert told["kind"] == "gpu"
    assert told["memory"]["total_bytes"] == int(0.95 * 24 * 2**30)


def test_on_a_gpu_that_is_not_here_blocks_are_marked_as_slower_in_gemcut() -> None:
    told = json.loads(fit("--for", "4090", "--json").stdout)
    reached = {(one["model"], one["precision"]): one["reached_by_gemcut"] for one in told["models"]}
    assert (reached["e4b", "bf16"], reached["e4b", "int4"]) == (True, False)
    assert "in brackets is what the device allows" in told["notes"][0]
    assert {one["task"]: one["precision"] for one in told["advice"]}["code"] == "bf16"
    printed = words("--for", "4090")
    assert told["notes"][0] in printed
    assert "(15,206)" in printed


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
        (
            ["--for", "2x 4090"],
            "error: gemcut runs a model on one device, not on '2x 4090'; ask with --for '4090'",
        ),
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
