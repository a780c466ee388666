"""`gemcut fit`: which sizes run on a machine, with how much context, how fast, and which to take for what."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from rich.console import Console

from gemcut.cli.figures import size, speed
from gemcut.cli.fit_tables import everything
from gemcut.cli.options import AsJson, Device
from gemcut.cli.screen import Screen
from gemcut.errors import BadOption
from gemcut.family import FAMILIES
from gemcut.fit.advice import Advice, advise
from gemcut.fit.devices import MULTIPLY_SHARE, READ_SHARE, find_device, known_device
from gemcut.fit.estimate import Estimate, Place, estimate
from gemcut.fit.here import Here, look_here
from gemcut.fit.machine import Processor
from gemcut.fit.rates import Rates
from gemcut.fit.weights import PRECISIONS

For = Annotated[
    str | None,
    typer.Option(
        "--for", metavar="DEVICE", help='Answer for a device that is not here: 4090, h100, "m2 max 64" …'
    ),
]
Context = Annotated[int | None, typer.Option(help="Tokens that must fit.  [default: as many as do]")]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Where models are to run, and what is told of it: in lines, of which notes are caveats, and as JSON."""

    place: Place
    heading: list[str]
    notes: list[str]
    described: dict[str, Any]


def fit(
    for_device: For = None, context: Context = None, device: Device = None, as_json: AsJson = False
) -> None:
    """Say what runs on this machine, how fast, and which model to take for what.

    Measures this machine for some seconds; with --for it answers from a table of devices.
    """
    _check(for_device, context, device)
    asked = _here(device) if for_device is None else _elsewhere(for_device)
    estimates = [
        estimate(row, precision, asked.place, context) for row in FAMILIES for precision in PRECISIONS
    ]
    advice = advise(estimates)
    if as_json:
        print(json.dumps(_json(asked, context, estimates, advice), indent=2))
    else:
        console = Console(highlight=False)
        console.print("\n".join(asked.heading), markup=False, soft_wrap=True)
        for note in asked.notes:
            console.print(note, markup=False)
        console.print(everything(estimates, advice, asked.place.kind, context))


def _check(for_device: str | None, context: int | None, device: str | None) -> None:
    """Raises BadOption for what cannot be asked."""
    most = max(row.size.context for row in FAMILIES)
    if context is not None and not 1 <= context <= most:
        raise BadOption(f"--context is {context:,}; the models are made for 1 to {most:,} tokens")
    if for_device is not None and device is not None:
        raise BadOption(
            f"--for {for_device!r} is about another machine and --device {device} about this one; give one"
        )


def _here(device: str | None) -> Asked:
    with Screen().waiting("measuring this machine …"):
        here = look_here(device)
    measured = {"measured_on": here.measured_on, "measured_s": here.measured_s}
    return Asked(
        place=here.place,
        heading=_heading(here),
        notes=_notes(here, device),
        described={"machine": asdict(here.machine) | measured},
    )


def _notes(here: Here, device: str | None) -> list[str]:
    """What must be said of GPUs: that one is not used, or that only one is."""
    gpus = here.machine.gpus
    if here.place.kind == "gpu" and len(gpus) > 1:
        return [f"gemcut runs a model on one GPU, here {here.measured_on}; --device asks for another."]
    if here.place.kind == "gpu" or not gpus or device is not None:
        return []
    known = known_device(gpus[0].name)
    ask = "" if known is None else f'; --for "{known[0].name}" tells what it could do'
    return [f"Those figures are of the CPU: torch does not use the GPU{ask}."]


def _elsewhere(name: str) -> Asked:
    found, gib = find_device(name)
    place = Place(kind="cpu" if found.kind == "board" else "gpu", memory=found.memory(gib), rates=found.rates)
    heading = [f"{found.title}, {gib} GB, of which models get {found.share(gib):.0%}"]
    if others := [str(other) for other in found.memory_gib if other != gib]:
        heading.append(f'Also sold with {" and ".join(others)} GB: --for "{found.name} {others[0]}"')
    heading += [
        f"{found.read_gb_s:,g} GB/s and {found.tflops:,g} TFLOP/s, of which programs usually reach",
        f"{READ_SHARE:.0%} and {MULTIPLY_SHARE:.0%}; nothing was measured.  Source:",
        found.source,
    ]
    notes = []
    if found.rates.unreached:
        notes.append(
            "On GPUs gemcut is not fast in int8 and int4 yet: in brackets is what the device"
            " allows, and advice is for bf16 where that fits."
        )
    if found.kind == "apple":
        notes.append("gemcut itself runs on Linux: this is what the hardware allows.")
    described = asdict(found) | {"memory_gib": gib}
    return Asked(place=place, heading=heading, notes=notes, described={"device": described})


def _heading(here: Here) -> list[str]:
    """What the machine has, and what was measured."""
    machine = here.machine
    memory = machine.memory
    lines = processor_lines(machine.processor)
    lines.append(f"{size(memory.total_bytes)} of memory, {size(memory.free_bytes)} free")
    for gpu in machine.gpus:
        own = gpu.memory
        has = "shares it" if own is None else f"{size(own.total_bytes)}, {size(own.free_bytes)} free"
        lines.append(f"{gpu.name}: {has}")
    if here.place.rates is not None:
        lines += [
            f"Measured on the {here.measured_on} in {here.measured_s:.1f} s:",
            *_measured(here.place.rates),
        ]
    return lines


def processor_lines(processor: Processor) -> list[str]:
    """The CPU, and below it its instruction sets where any of them matter."""
    lines = [f"{processor.name}, {processor.cores} core{'s' if processor.cores > 1 else ''}"]
    if processor.instructions:
        lines.append(f"  {', '.join(processor.instructions)}")
    return lines


def _measured(rates: Rates) -> list[str]:
    read = ", ".join(f"{speed(rates.read[form] / 1e9)} in {form}" for form in PRECISIONS)
    multiplied = ", ".join(f"{speed(rates.multiply[form] / 1e9)} in {form}" for form in PRECISIONS)
    return [
        f"  weights read, GB/s: {read}",
        f"  multiplied, GFLOP/s: {multiplied}",
    ]


def _json(
    asked: Asked, context: int | None, estimates: Sequence[Estimate], advice: Sequence[Advice]
) -> dict[str, Any]:
    place = asked.place
    return {
        **asked.described,
        "notes": asked.notes,
        "kind": place.kind,
        "memory": asdict(place.memory),
        "rates": None if place.rates is None else _rates_json(place.rates),
        "context_asked": context,
        "models": [_estimate_json(one) for one in estimates],
        "advice": [
            {
                "task": one.score.task,
                "model": one.take.family.name,
                "precision": one.take.precision,
                "benchmark": one.score.benchmark,
                "percent": one.value,
                "source": one.score.source,
            }
            for one in advice
        ],
    }


def _rates_json(rates: Rates) -> dict[str, Any]:
    return asdict(rates) | {"unreached": sorted(rates.unreached)}


def _estimate_json(one: Estimate) -> dict[str, Any]:
    return {
        "model": one.family.name,
        "precision": one.precision,
        "verdict": one.verdict,
        "context_tokens": one.context,
        "memory_bytes": one.memory_bytes,
        "resident_bytes": one.resident_bytes,
        "text_bytes": one.weights.text_bytes,
        "per_layer_table_bytes": one.weights.table_bytes,
        "media_bytes": one.weights.media_bytes,
        "decode_tokens_per_s": one.decode_per_s,
        "prefill_tokens_per_s": one.prefill_per_s,
        "reached_by_gemcut": one.reached,
    }
