"""The tables show what the JSON says."""

import re
from dataclasses import replace

import pytest
from rich.console import Console

from gemcut.cli.bench import outcome_json
from gemcut.cli.bench_tables import everything
from gemcut.cli.figures import size, speed
from gemcut.fit.rates import Rates
from gemcut.fit.weights import PRECISIONS
from gemcut.speed.order import About, Shape
from gemcut.speed.outcome import Outcome, Speed

RATES = Rates(
    read=dict.fromkeys(PRECISIONS, 24.1e9), multiply=dict.fromkeys(PRECISIONS, 140e9), layer_s=0, row_s=0.0
)
SHAPE = Shape(prompt_tokens=2048, batch=1, new_tokens=16)
DECODE = Speed(
    what="decode", shape=SHAPE, ours=(5.1, 4.9, 5.3), floors=(6.0, 5.5, 6.1), theirs=(2.9, 3.0, 2.8)
)
PREFILL = Speed(
    what="prefill", shape=SHAPE, ours=(1180, 11_200, 1240), floors=(1900, 19_000, 1930), theirs=(36, 35, 37)
)
OUTCOME = Outcome(
    precision="int4",
    their_precision="int4",
    ours=About(title="gemcut 0.1.0", peak_bytes=1_700_000_000),
    theirs=About(title="llama.cpp, build 9000 (abc1234), CPU", peak_bytes=2_600_000_000),
    floors=(RATES, RATES, RATES),
    speeds=(PREFILL, DECODE),
)
ALONE = replace(
    OUTCOME,
    theirs=None,
    their_precision=None,
    speeds=tuple(replace(one, theirs=None) for one in OUTCOME.speeds),
)


def shown(*outcomes: Outcome) -> list[str]:
    console = Console(width=80)
    with console.capture() as captured:
        console.print(everything(outcomes))
    return captured.get().splitlines()


def row(lines: list[str], start: str, number: int = 0) -> list[str]:
    """The cells of a table's row."""
    found = [line for line in lines if start in line][number]
    return re.split(r"\s{2,}", found.strip())


@pytest.mark.parametrize("which", [0, 1])
def test_a_row_has_the_medians_and_the_spread_of_the_json(which: int) -> None:
    told = outcome_json(OUTCOME)
    said, lines = told["speeds"][which], shown(OUTCOME)
    start = f"{'prefill of' if said['what'] == 'prefill' else 'decode after'} 2,048"
    rounds = said["tokens_per_s_rounds"]
    assert row(lines, start)[-5:] == [
        start,
        speed(said["tokens_per_s"]),
        f"{speed(min(rounds))} – {speed(max(rounds))}",
        speed(said["floor_tokens_per_s"]),
        f"{said['reached']:.0%}",
    ]
    ratios = said["ratio_rounds"]
    assert row(lines, start, 1)[-5:] == [
        start,
        speed(said["tokens_per_s"]),
        speed(said["other_tokens_per_s"]),
        f"{said['ratio']:.2f}",
        f"{min(ratios):.2f} – {max(ratios):.2f}",
    ]
    assert said["reached"] == pytest.approx((11_200 / 19_000, 5.1 / 6.0)[which], rel=0.1)
    assert told["read_bytes_per_s"] == [24.1e9] * 3
    assert any("24 GB/s read; multiplied, GFLOP/s: 140 in bf16" in line for line in lines)


def test_memory_is_the_jsons() -> None:
    told = outcome_json(OUTCOME)
    ours, theirs = told["gemcut"]["peak_bytes"], told["other"]["peak_bytes"]
    assert row(shown(OUTCOME)[-1:], "int4") == ["int4", size(ours), size(theirs), f"{ours / theirs:.2f}"]


def test_alone_there_is_nothing_to_compare() -> None:
    told = outcome_json(ALONE)
    assert told["other"] is None
    assert told["speeds"][0]["ratio"] is told["speeds"][0]["other_tokens_per_s_rounds"] is None
    printed = "\n".join(shown(ALONE))
    assert "ratio" not in printed
    assert "1.70 GB" in printed


def test_several_at_once_and_another_precision_are_said() -> None:
    many = replace(DECODE, shape=replace(SHAPE, batch=16))
    lines = shown(replace(OUTCOME, their_precision="bf16", speeds=(many,)))
    assert any("decode after 2,048 × 16" in line for line in lines)
    assert any("×: requests at once" in line for line in lines)
    assert any("bf16 there beside int4 here" in line for line in lines)


def test_it_fits_into_a_terminal() -> None:
    wide = replace(
        PREFILL,
        shape=replace(SHAPE, prompt_tokens=131_072, batch=16),
        ours=(811_200.0, 911_200.0, 951_200.0),
        theirs=(61_000.0, 62_000.0, 63_000.0),
    )
    lines = shown(replace(OUTCOME, their_precision="bf16", speeds=(wide, DECODE)))
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
