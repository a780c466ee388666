"""What `gemcut fit` shows: tables of 80 columns at most."""

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gemcut.cli.figures import size, speed, tokens
from gemcut.cli.tables import dim, plain_table
from gemcut.config import TextConfig
from gemcut.engine.memory import kind_memory
from gemcut.family import BYTES_OF_BFLOAT16
from gemcut.fit.advice import QUICK_PER_S, Advice, is_slow
from gemcut.fit.estimate import LEAST_CONTEXT, PROMPT_TOKENS, Estimate, PlaceKind, Verdict
from gemcut.fit.weights import PRECISIONS

STYLES: Mapping[Verdict, str] = {
    "fits": "green",
    "fits once memory is freed": "yellow",
    "does not fit": "dim",
}
MARKS: Mapping[Verdict, str] = {"fits": "✓", "fits once memory is freed": "~", "does not fit": "✗"}
BESIDE: Mapping[PlaceKind, str] = {
    "cpu": "images, sound, per-layer table (bf16 / int8 / int4): on disk, read as needed;\n"
    "not counted as memory.\n"
    "keys, values: of each token, and of the windows that are full.",
    "gpu": "images, sound, per-layer table (bf16 / int8 / int4): counted as memory.\n"
    "keys, values: of each token, and of the windows that are full.",
}


def everything(
    estimates: Sequence[Estimate], advice: Sequence[Advice], kind: PlaceKind, context: int | None
) -> RenderableType:
    """All tables, one below the other.  context: the tokens that were asked for."""
    parts: list[RenderableType] = ["", _sizes(estimates), dim(_legend(estimates, context)), ""]
    parts += [_apart(estimates), dim(BESIDE[kind]), ""]
    if advice:
        parts += [_advice(advice), dim(_advice_legend(advice))]
    else:
        asked = "" if context is None else f" with {tokens(context)} tokens"
        parts.append(f"None of the published sizes fits here{asked}.")
    return Group(*parts)


def _sizes(estimates: Sequence[Estimate]) -> Table:
    table = plain_table("", "", "weights", "context", "memory", "decode", "prefill")
    for one in estimates:
        style, first = STYLES[one.verdict], one.precision == PRECISIONS[0]
        table.add_row(
            Text(f"{MARKS[one.verdict]} {one.family.name if first else ''}", style=style),
            one.precision,
            size(one.weights.text_bytes),
            tokens(one.context) if one.context else "-",
            size(one.memory_bytes),
            _speed(one.decode_per_s, one.reached),
            _speed(one.prefill_per_s, one.reached),
            style="" if one.verdict == "fits" else style,
        )
    return table


def _legend(estimates: Sequence[Estimate], context: int | None) -> str:
    asked = tokens(LEAST_CONTEXT if context is None else context)
    found = {one.verdict for one in estimates}
    short = dict.fromkeys(
        one.family.name for one in estimates if context is not None and one.family.size.context < context
    )
    made_for_fewer = f"Made for fewer: {', '.join(short)}.\n" if short else ""
    marks: Mapping[Verdict, str] = {
        "fits": f"✓ fits with {asked} tokens",
        "fits once memory is freed": "~ once other programs are closed",
        "does not fit": "✗ does not",
    }
    at = f"at that context, with {asked} where it does not fit" if context is None else f"at {asked} tokens"
    after = tokens(PROMPT_TOKENS if context is None else context)
    return (
        f"{', '.join(words for verdict, words in marks.items() if verdict in found)}.\n"
        f"{made_for_fewer}"
        "weights: of the text model.  context: the most tokens that fit.\n"
        f"memory: all that is needed {at}.\n"
        f"decode: tokens a second after {after}; prefill: of a prompt of {PROMPT_TOKENS}."
    )


def _apart(estimates: Sequence[Estimate]) -> Table:
    """What comes beside the text model's weights, a row for each size."""
    table = plain_table("beside them", "images, sound", "per-layer table", "keys, values", left=(0, 2, 3))
    for row in dict.fromkeys(one.family for one in estimates):
        weights = [one.weights for one in estimates if one.family == row]
        table.add_row(
            f"  {row.name}",
            size(weights[0].media_bytes),
            _sizes_together([one.table_bytes for one in weights]),
            _keys_values(row.size.text),
        )
    return table


def _sizes_together(numbers: Sequence[int]) -> str:
    """Of the three precisions, where they differ: "4.70 / 2.50 / 1.32 GB"."""
    shown = [size(number) for number in dict.fromkeys(numbers)]
    unit = shown[-1].split()[1]
    return f"{' / '.join(one.removesuffix(f' {unit}') for one in shown)} {unit}" if any(numbers) else "-"


def _keys_values(text: TextConfig) -> str:
    """Bytes of a token for good, and of the window."""
    full, sliding = (
        kind_memory(text, kind, BYTES_OF_BFLOAT16, compact=True).token_bytes
        for kind in ("full_attention", "sliding_attention")
    )
    return f"{full / 1024:g} KiB a token + {size(sliding * text.sliding_window)}"


def _advice(advice: Sequence[Advice]) -> Table:
    table = plain_table("for", "take", "", "score", "", "decode", left=(0, 1, 2, 4))
    for one in advice:
        take = one.take
        table.add_row(
            f"  {one.score.task}",
            Text(take.family.name, style="bold"),
            take.precision,
            f"{one.value:.1f} %",
            one.score.benchmark,
            _speed(take.decode_per_s, take.reached),
            style="yellow" if is_slow(take) else "",
        )
    return table


def _advice_legend(advice: Sequence[Advice]) -> str:
    sources = ", ".join(sorted({one.score.source for one in advice}))
    lines = [f"The best score among what fits and makes {QUICK_PER_S:g} tokens a second."]
    if any(is_slow(one.take) for one in advice):
        lines.append("Where nothing makes so many, the quickest.")
    if any(one.take.precision != PRECISIONS[0] for one in advice):
        lines.append("int8 and int4: GGUF files in Q8_0 and Q4_0, or what `gemcut quantize` makes.")
    return "\n".join([*lines, f"Scores are of bf16, thinking: {sources}"])


def _speed(per_s: float | None, reached: bool) -> str:
    """In brackets where gemcut itself is slower."""
    shown = "?" if per_s is None else speed(per_s)
    return shown if reached else f"({shown})"
