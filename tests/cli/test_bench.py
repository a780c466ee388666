import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gemcut.cli.main import build_app
from gemcut.fit.rates import Rates
from gemcut.fit.weights import PRECISIONS
from tests.speed.fake import calls, write_llama_bench
from tests.tiny_model import write_tiny_model

RATES = Rates(
    read=dict.fromkeys(PRECISIONS, 25e9), multiply=dict.fromkeys(PRECISIONS, 140e9), layer_s=1e-4, row_s=0.0
)
SHORT = "--tokens", "2", "--rounds", "1", "--prompt", "40"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is not measured."""
    monkeypatch.setattr("gemcut.speed.rounds.measure", lambda device: RATES)
    monkeypatch.setattr("gemcut.speed.rounds.read_rate", lambda device: 30e9)


def bench(*arguments: str | Path) -> Result:
    return CliRunner().invoke(build_app(), ["bench", *map(str, arguments)])


def told_by(*arguments: str | Path) -> dict[str, Any]:
    done = bench(*arguments, "--json")
    assert done.exit_code == 0, done.output
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_lengths_batches_and_precisions_are_measured(nano: Path) -> None:
    told = told_by(
        "nano", *SHORT, "--prompt", "90", "--batch", "3", "--precision", "bf16", "--precision", "int4"
    )
    assert told["place"] == str(nano)
    assert (told["rounds"], told["new_tokens"]) == (1, 2)
    assert [one["precision"] for one in told["precisions"]] == ["bf16", "int4"]
    for one in told["precisions"]:
        assert [(s["what"], s["prompt_tokens"], s["batch"]) for s in one["speeds"]] == [
            (what, length, 3) for length in (40, 90) for what in ("prefill", "decode")
        ]
        for found in one["speeds"]:
            assert found["tokens_per_s"] > 0
            assert found["reached"] == pytest.approx(found["tokens_per_s"] / found["floor_tokens_per_s"])
        assert one["gemcut"]["peak_bytes"] > 100_000_000  # torch is in it
        assert one["other"] is None
        assert one["read_bytes_per_s"] == [30e9]


def test_llama_cpp_runs_the_same_weights_in_turn(nano: Path, tmp_path: Path) -> None:
    program = write_llama_bench(tmp_path)
    options = (
        "--precision",
        "int4",
        "--vs",
        "llama.cpp",
        "--llama-bench",
        program,
        "--llama-flags",
        "--repack 0",
    )
    done = bench("nano", "--tokens", "2", "--prompt", "40", "--rounds", "2", "--threads", "1", *options)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].endswith("; 1 thread")
    assert any(line.endswith("and llama.cpp, build 9000 (abc1234), CPU, in turn") for line in lines)
    heading = next(number for number, line in enumerate(lines) if "llama.cpp  ratio" in line)
    rows = [line.split() for line in lines[heading + 1 : heading + 3]]
    assert [row[: row.index("40")] for row in rows] == [["int4", "prefill", "of"], ["decode", "after"]]
    assert [row[row.index("40") + 2] for row in rows] == ["1,000", "100"]  # as llama-bench said
    assert re.fullmatch(r"int4 +\d+ MB +2\d\d MB +\d\.\d\d", lines[-1].strip())
    asked = calls(tmp_path)
    assert [call[call.index("-d") + 1] for call in asked] == ["0", "40"] * 2  # two for each round
    assert all(call[call.index("-t") + 1] == "1" and "--repack" in call for call in asked)
    assert asked[0][1].endswith("int4.gguf")
    assert not Path(asked[0][1]).exists()  # the file was made for the time


def test_transformers_runs_beside_it(nano: Path) -> None:
    told = told_by("nano", *SHORT, "--batch", "2", "--precision", "int8", "--vs", "transformers")
    (one,) = told["precisions"]
    assert one["other"]["title"].startswith("transformers 5.")
    assert (one["precision"], one["other"]["precision"]) == ("int8", "float32")
    assert all(found["other_tokens_per_s"] > 0 for found in one["speeds"])
    assert one["other"]["peak_bytes"] > 100_000_000


def test_a_checkpoint_of_no_known_size_is_measured_too(tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "tiny")
    done = bench(tmp_path / "tiny", *SHORT)
    assert done.exit_code == 0, done.output
    assert "float32  prefill of 40" in done.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--batch", "0"], "error: --batch is 0; it must be at least 1"),
        (["--prompt", "0"], "error: --prompt is 0; it must be at least 1"),
        (["--tokens", "0"], "error: --tokens is 0; it must be at least 1"),
        (["--rounds", "0"], "error: --rounds is 0; it must be at least 1"),
        (["--threads", "0"], "error: --threads is 0; it must be at least 1"),
        (
            ["--prompt", "5000"],
            "error: --prompt 5000 with --tokens 16 and --batch 1 takes up to 5,017 tokens",
        ),
        (["--precision", "int3"], "error: --precision is 'int3'; it may be stored, bf16, int8, int4"),
        (["--device", "abacus"], "error: device 'abacus' cannot be used here"),
        (["--gguf", __file__], "error: --gguf is about llama.cpp; add --vs llama.cpp, or leave it out"),
        (["--vs", "transformers", "--llama-flags", "-fa 1"], "error: --llama-flags is about llama.cpp; add"),
        (
            ["--vs", "llama.cpp", "--llama-bench", "/nowhere"],
            "error: there is no program /nowhere; build llama",
        ),
        (
            ["--vs", "llama.cpp", "--llama-bench", "/nowhere", "--llama-flags", "'-fa"],
            'error: --llama-flags "\'-fa" has no closing quotation; close it',
        ),
    ],
)
def test_what_cannot_be_measured_is_an_error_in_one_line_before_any_work(
    options: list[str], said: str, nano: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gemcut.speed.rounds.Rounds.steps", lambda work: pytest.fail("work began"))
    refused = bench("nano", *options)
    assert refused.exit_code == 2
    assert refused.stdout == ""
    assert refused.stderr.startswith(said)
    assert refused.stderr.count("\n") == 1


def test_without_llama_bench_on_the_path_it_asks_for_it(nano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    refused = bench("nano", "--vs", "llama.cpp")
    assert refused.stderr.startswith("error: llama-bench is not on the PATH; build llama.cpp and give it: ")


def test_a_program_that_it_does_not_know_is_refused() -> None:
    refused = bench("nano", "--vs", "ollama")
    assert refused.exit_code == 2
    assert "'ollama' is not one of 'llama.cpp', 'transformers'" in refused.stderr
