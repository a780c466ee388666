"""What `gemcut bench` shows: tables of 80 columns at most."""

from collections.abc import Sequence
from statistics import median

from rich.console import Group, RenderableType
from rich.table import Table

from gemcut.cli.figures import size, speed
from gemcut.cli.tables import dim, plain_table
from gemcut.fit.weights import PRECISIONS
from gemcut.speed.outcome import Outcome, Speed


def everything(outcomes: Sequence[Outcome]) -> RenderableType:
    """All tables, one below the other."""
    parts: list[RenderableType] = ["", _speeds(outcomes), dim(_legend(outcomes)), ""]
    if outcomes[0].theirs is not None:
        parts += [_ratios(outcomes), dim(_ratio_legend(outcomes)), ""]
    return Group(*parts, _memory(outcomes))


def _speeds(outcomes: Sequence[Outcome]) -> Table:
    """Ours, beside the floor."""
    table = plain_table("", "", "tokens/s", "rounds", "floor", "reached")
    for one in outcomes:
        for number, found in enumerate(one.speeds):
            table.add_row(
                "" if number else one.precision,
                _what(found),
                speed(median(found.ours)),
                f"{speed(min(found.ours))} – {speed(max(found.ours))}",
                speed(median(found.floors)),
                f"{median(found.reached):.0%}",
            )
    return table


def _legend(outcomes: Sequence[Outcome]) -> str:
    """What the columns are, and what the floor was made of."""
    batch = max(found.shape.batch for one in outcomes for found in one.speeds)
    rates = [each for one in outcomes for each in one.floors]
    read = median(each.read["bf16"] for each in rates)
    multiplied = ", ".join(
        f"{speed(median(each.multiply[form] for each in rates) / 1e9)} in {form}" for form in PRECISIONS
    )
    rounds = len(outcomes[0].floors)
    lines = ["One round." if rounds == 1 else f"Medians of {rounds} rounds, the least and the most of them."]
    if batch > 1:
        lines[0] += "  ×: requests at once."
    lines += [
        "floor: what reading and multiplying alone allow, measured in the same rounds:",
        f"  {speed(read / 1e9)} GB/s read; multiplied, GFLOP/s: {multiplied}.",
    ]
    return "\n".join(lines)


def _ratios(outcomes: Sequence[Outcome]) -> Table:
    """Ours, beside the other program."""
    table = plain_table("", "", "gemcut", _other(outcomes), "ratio", "rounds")
    for one in outcomes:
        for number, found in enumerate(one.speeds):
            if found.theirs is None or found.ratios is None:
                continue
            table.add_row(
                "" if number else one.precision,
                _what(found),
                speed(median(found.ours)),
                speed(median(found.theirs)),
                f"{median(found.ratios):.2f}",
                f"{min(found.ratios):.2f} – {max(found.ratios):.2f}",
            )
    return table


def _ratio_legend(outcomes: Sequence[Outcome]) -> str:
    """What the columns are, and where the other program ran something else."""
    others = [one for one in outcomes if one.their_precision != one.precision]
    beside = "".join(f"; {one.their_precision} there beside {one.precision} here" for one in others)
    return f"Tokens a second; ratio: gemcut is so many times as fast, median of the rounds'{beside}."


def _memory(outcomes: Sequence[Outcome]) -> Table:
    """The most that was resident, pages of mapped files too."""
    headers = ["", "memory at most", "gemcut"]
    if outcomes[0].theirs is not None:
        headers += [_other(outcomes), "share"]
    table = plain_table(*headers)
    for one in outcomes:
        row = [one.precision, "", size(one.ours.peak_bytes)]
        if one.theirs is not None:
            row += [size(one.theirs.peak_bytes), f"{one.ours.peak_bytes / one.theirs.peak_bytes:.2f}"]
        table.add_row(*row)
    return table


def _what(found: Speed) -> str:
    """What was timed: "prefill of 512", "decode after 512 × 4"."""
    words = "prefill of" if found.what == "prefill" else "decode after"
    many = f" × {found.shape.batch}" if found.shape.batch > 1 else ""
    return f"{words} {found.shape.prompt_tokens:,}{many}"


def _other(outcomes: Sequence[Outcome]) -> str:
    theirs = outcomes[0].theirs
    return "" if theirs is None else theirs.title.split()[0].rstrip(",")
