"""`gemcut bench`: how fast a model is here, beside what the machine allows and beside other programs."""

import json
import shlex
import shutil
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from gemcut.cli.fit import processor_lines
from gemcut.cli.options import AsJson, Device, Offline, Source
from gemcut.cli.screen import Screen
from gemcut.errors import BadOption
from gemcut.fit.machine import Machine, read_machine

if TYPE_CHECKING:  # they bring torch, which takes seconds to import
    from gemcut.speed.order import About
    from gemcut.speed.outcome import Outcome, Speed
    from gemcut.speed.rivals import Rival
    from gemcut.speed.rounds import Plan

Beside = Literal["llama.cpp", "transformers"]
Prompt = Annotated[
    list[int] | None, typer.Option(help="Tokens of a prompt; may be repeated.  [default: 512]")
]
Batch = Annotated[
    list[int] | None, typer.Option(help="Requests that come at once; may be repeated.  [default: 1]")
]
Precision = Annotated[
    list[str] | None,
    typer.Option(
        help="Of the weights: stored, bf16, int8, int4; may be repeated.  [default: stored]",
        show_default=False,
    ),
]
Tokens = Annotated[int, typer.Option(help="Tokens that are made after each prompt, and timed.")]
Times = Annotated[int, typer.Option(help="How often everything is measured.")]
Threads = Annotated[int | None, typer.Option(help="Threads of the CPU.  [default: as torch has it]")]
Vs = Annotated[Beside | None, typer.Option(help="Measure this program too, in turn.", show_default=False)]
LlamaBench = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="llama.cpp's llama-bench.  [default: the one on the PATH]"),
]
Gguf = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="What llama.cpp runs.  [default: one is made of the same weights]", exists=True,
        dir_okay=False, readable=True,
    ),
]  # fmt: skip
LlamaFlags = Annotated[
    str | None, typer.Option(metavar="FLAGS", help='More flags for llama-bench: "--repack 0".')
]


def bench(
    model: Source,
    prompt: Prompt = None,
    batch: Batch = None,
    precision: Precision = None,
    tokens: Tokens = 16,
    rounds: Times = 3,
    threads: Threads = None,
    vs: Vs = None,
    llama_bench: LlamaBench = None,
    gguf: Gguf = None,
    llama_flags: LlamaFlags = None,
    device: Device = None,
    as_json: AsJson = False,
    offline: Offline = False,
) -> None:
    """Measure how fast a model reads prompts and makes tokens, and what share of the machine's best that is.

    With --vs, another program does the same in turn.  Each runs in a process of its own.
    """
    screen = Screen()
    with screen.waiting("loading torch …"):  # here: it takes seconds, and --help needs none
        import torch

        from gemcut.checkpoint.find import find_checkpoint
        from gemcut.cli.bench_tables import everything
        from gemcut.load import pick_device
        from gemcut.opened import open_checkpoint
        from gemcut.speed.order import Shape
        from gemcut.speed.rounds import Plan, Rounds
        from gemcut.speed.variants import variants

    rival = _rival(vs, llama_bench, gguf, llama_flags)
    shapes = [
        Shape(prompt_tokens=length, batch=count, new_tokens=tokens)
        for count in batch or [1]
        for length in prompt or [512]
    ]
    source = open_checkpoint(find_checkpoint(model, offline=offline, progress=screen.note))
    plan = Plan(
        variants=variants(source, precision or ["stored"]),
        shapes=tuple(dict.fromkeys(shapes)),
        rounds=rounds,
        threads=torch.get_num_threads() if threads is None else threads,
        device=pick_device(device),
        rival=rival,
    )
    work = Rounds(plan)
    try:
        for step in work.steps():
            screen.passing(step)
    finally:
        screen.clear()
    machine = read_machine()
    if as_json:
        print(json.dumps(_json(model, machine, plan, work.outcomes), indent=2))
        return
    console = Console(highlight=False)
    console.print(_heading(model, machine, plan, work.outcomes), markup=False, soft_wrap=True)
    console.print(everything(work.outcomes))


def _rival(
    vs: Beside | None, llama_bench: Path | None, gguf: Path | None, llama_flags: str | None
) -> "Rival | None":
    """The other program.  Raises BadOption for options that would be ignored."""
    from gemcut.speed.rivals import LlamaCpp, Transformers

    given = {"--llama-bench": llama_bench, "--gguf": gguf, "--llama-flags": llama_flags}
    idle = [option for option, value in given.items() if value is not None]
    if vs != "llama.cpp" and idle:
        raise BadOption(f"{idle[0]} is about llama.cpp; add --vs llama.cpp, or leave it out")
    if vs is None:
        return None
    if vs == "transformers":
        return Transformers()
    found = shutil.which("llama-bench")
    if llama_bench is None and found is None:
        raise BadOption("llama-bench is not on the PATH; build llama.cpp and give it: --llama-bench PATH")
    try:
        flags = shlex.split("" if llama_flags is None else llama_flags)
    except ValueError as error:
        raise BadOption(f"--llama-flags {llama_flags!r} has {str(error).lower()}; close it") from None
    program = Path(str(found)) if llama_bench is None else llama_bench
    return LlamaCpp(program=program, gguf=gguf, flags=tuple(flags))


def _heading(model: str, machine: Machine, plan: "Plan", outcomes: "list[Outcome]") -> str:
    """Where it was measured, and what."""
    plural = "s" if plan.threads > 1 else ""
    lines = processor_lines(machine.processor)
    lines[0] += f"; {plan.threads} thread{plural}"
    if plan.device.type == "cuda":
        import torch

        lines.append(torch.cuda.get_device_name(plan.device))
    lines.append(f"{model}: {plan.source.place}")
    theirs = outcomes[0].theirs
    if theirs is not None:
        lines.append(f"{outcomes[0].ours.title} and {theirs.title}, in turn")
    return "\n".join(lines)


def _json(model: str, machine: Machine, plan: "Plan", outcomes: "list[Outcome]") -> dict[str, Any]:
    """All that was measured."""
    return {
        "machine": asdict(machine),
        "model": model,
        "place": str(plan.source.place),
        "device": str(plan.device),
        "threads": plan.threads,
        "rounds": plan.rounds,
        "new_tokens": plan.shapes[0].new_tokens,
        "precisions": [outcome_json(one) for one in outcomes],
    }


def outcome_json(one: "Outcome") -> dict[str, Any]:
    """What was measured of one precision."""
    return {
        "precision": one.precision,
        "gemcut": _about_json(one.ours, one.precision),
        "other": None if one.theirs is None else _about_json(one.theirs, one.their_precision),
        "read_bytes_per_s": [rates.read["bf16"] for rates in one.floors],
        "multiply_per_s": [dict(rates.multiply) for rates in one.floors],
        "speeds": [_speed_json(speed) for speed in one.speeds],
    }


def _about_json(about: "About", precision: str | None) -> dict[str, Any]:
    return {"title": about.title, "precision": precision, "peak_bytes": about.peak_bytes}


def _speed_json(speed: "Speed") -> dict[str, Any]:
    """Medians, and each round's; None where nothing is known."""
    series = {
        "tokens_per_s": speed.ours,
        "floor_tokens_per_s": speed.floors,
        "reached": speed.reached,
        "other_tokens_per_s": speed.theirs,
        "ratio": speed.ratios,
    }
    told: dict[str, Any] = {
        "what": speed.what,
        "prompt_tokens": speed.shape.prompt_tokens,
        "batch": speed.shape.batch,
    }
    for name, values in series.items():
        told[name] = None if values is None else median(values)
        told[f"{name}_rounds"] = None if values is None else list(values)
    return told
