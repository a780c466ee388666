"""The tables of `gemcut fit`, in a terminal of 80 columns."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from gemcut.cli.fit_tables import BESIDE, everything
from gemcut.engine.main_memory import MainMemory
from gemcut.family import FAMILIES
from gemcut.fit.advice import advise
from gemcut.fit.estimate import Place, PlaceKind, estimate
from gemcut.fit.rates import Rates
from gemcut.fit.weights import PRECISIONS

GB = 10**9
SLOW = Rates(
    read=dict.fromkeys(PRECISIONS, 25e9), multiply=dict.fromkeys(PRECISIONS, 140e9), layer_s=1e-4, row_s=0.0
)
QUICK = Rates(
    read=dict.fromkeys(PRECISIONS, 8e12), multiply=dict.fromkeys(PRECISIONS, 1e15), layer_s=1e-5, row_s=0.0
)


def shown(
    kind: PlaceKind, memory: MainMemory, rates: Rates | None, context: int | None = None, width: int = 80
) -> list[str]:
    place = Place(kind=kind, memory=memory, rates=rates)
    estimates = [estimate(row, precision, place, context) for row in FAMILIES for precision in PRECISIONS]
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(everything(estimates, advise(estimates), kind, context))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def free(total: int, used: int = 0) -> MainMemory:
    return MainMemory(total_bytes=total, free_bytes=total - used)


@pytest.mark.parametrize("context", [None, 1, 100_000, 262_144])
@pytest.mark.parametrize(
    ("kind", "memory", "rates"),
    [
        ("cpu", free(24 * GB, 3 * GB), SLOW),
        ("cpu", free(100_000_000), None),
        ("gpu", free(192 * GB), QUICK),
        ("gpu", free(12 * GB, 4 * GB), SLOW),
    ],
)
def test_nothing_is_wider_than_80_columns_or_cut_off(
    kind: PlaceKind, memory: MainMemory, rates: Rates | None, context: int | None
) -> None:
    lines = shown(kind, memory, rates, context)
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert not [line for line in lines if "…" in line]
    assert set(BESIDE[kind].splitlines()) <= set(lines)
    wide = shown(kind, memory, rates, context, width=120)
    assert lines == wide  # nothing was broken into two lines either


def test_every_size_has_a_row_for_each_precision() -> None:
    rows = [line.split() for line in shown("cpu", free(24 * GB), SLOW)]
    for row in FAMILIES:
        first = next(index for index, line in enumerate(rows) if line[1:3] == [row.name, "bf16"])
        assert [rows[first + 1][1], rows[first + 2][1]] == ["int8", "int4"]


def test_marks_say_what_fits_and_the_legend_what_marks_are() -> None:
    lines = shown("cpu", free(16 * GB, 4 * GB), SLOW)
    marks = {line.split()[1]: line[0] for line in lines if line and line[0] in "✓~✗"}
    assert (marks["e2b"], marks["31b"]) == ("✓", "✗")
    assert any(line.startswith("~") for line in lines)
    assert "✓ fits with 4K tokens, ~ once other programs are closed, ✗ does not." in lines
    everywhere = shown("gpu", free(192 * GB), QUICK)
    assert "✓ fits with 4K tokens." in everywhere


def test_the_per_layer_table_stands_apart() -> None:
    lines = shown("cpu", free(24 * GB), SLOW)
    assert [line for line in lines if "4.70 / 2.50 / 1.32 GB" in line and "6 KiB a token + 6.29 MB" in line]


def test_unknown_speeds_are_question_marks() -> None:
    assert [line for line in shown("cpu", free(24 * GB), None) if line.split()[-2:] == ["?", "?"]]


def test_where_nothing_fits_it_says_so() -> None:
    assert "None of the published sizes fits here." in shown("cpu", free(1_000_000), SLOW)
    asked = shown("cpu", free(4 * GB), SLOW, 200_000)
    assert "None of the published sizes fits here with 200,000 tokens." in asked
    assert "✗ does not." in asked
    assert "Made for fewer: nano, e2b, e4b." in asked


def test_what_only_the_device_allows_stands_in_brackets() -> None:
    lines = shown("gpu", free(24 * GB), replace(QUICK, unreached=frozenset(("int8", "int4"))))
    first = next(index for index, line in enumerate(lines) if line.startswith("✓ e2b"))
    assert "(" not in lines[first]
    assert lines[first + 1].count("(") == lines[first + 2].count("(") == 2


def test_what_does_not_fit_is_told_with_the_least_context() -> None:
    lines = shown("cpu", free(16 * GB), SLOW)
    assert "memory: all that is needed at that context, with 4K where it does not fit." in lines


def test_advice_names_the_score_and_its_source() -> None:
    lines = shown("gpu", free(80 * GB), QUICK)
    code = next(line.split() for line in lines if "LiveCodeBench" in line)
    assert code[:5] == ["code", "31b", "bf16", "80.0", "%"]
    assert "The best score among what fits and makes 8 tokens a second." in lines
    assert lines[-1] == "Scores are of bf16, thinking: https://arxiv.org/abs/2607.02770v2"


def test_advice_on_blocks_says_where_they_come_from() -> None:
    wanted = "int8 and int4: GGUF files in Q8_0 and Q4_0, or what `gemcut quantize` makes."
    assert wanted in shown("cpu", free(8 * GB), SLOW)
    assert wanted not in shown("gpu", free(200 * GB), QUICK)


def test_where_all_are_slow_advice_says_that_it_names_the_quickest() -> None:
    slow = replace(SLOW, read=dict.fromkeys(PRECISIONS, 1e9))
    wanted = "Where nothing makes so many, the quickest."
    assert wanted in shown("cpu", free(8 * GB), slow)
    assert wanted not in shown("cpu", free(8 * GB), SLOW)
