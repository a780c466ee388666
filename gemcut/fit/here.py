"""This machine as a place for models: what it has, and how fast it was a moment ago."""

import time
from dataclasses import dataclass

from gemcut.engine.main_memory import MainMemory
from gemcut.errors import BadOption
from gemcut.fit.estimate import Place
from gemcut.fit.machine import Machine, read_machine


@dataclass(frozen=True, kw_only=True)
class Here:
    """The machine, and the place in it where `gemcut run` puts models.

    measured_on: what was measured, "CPU" or "NVIDIA H200, cuda:0".  measured_s: how long that took.
    """

    machine: Machine
    place: Place
    measured_on: str
    measured_s: float


def look_here(device: str | None) -> Here:
    """This machine.  device: "cpu", "cuda", "cuda:1" …; None takes a GPU where there is one.

    Raises BadOption for a device that cannot be used, or has no memory free to measure it.
    """
    import torch  # only here: with --for, nobody waits for it

    from gemcut.fit.measure import measure
    from gemcut.load import pick_device

    machine, place = read_machine(), pick_device(device)
    memory, name = machine.memory, "CPU"
    if place.type == "cuda":
        free, total = torch.cuda.mem_get_info(place)
        memory = MainMemory(total_bytes=total, free_bytes=free)
        index = torch.cuda.current_device() if place.index is None else place.index
        name = f"{torch.cuda.get_device_name(place)}, cuda:{index}"
    start = time.perf_counter()
    try:
        rates = measure(place)
    except torch.OutOfMemoryError as error:
        raise BadOption(
            f"{name} has {memory.free_bytes:,} bytes free, too few to measure it; close what uses it, or ask "
            "with --device cpu"
        ) from error
    return Here(
        machine=machine,
        place=Place(kind="gpu" if place.type == "cuda" else "cpu", memory=memory, rates=rates),
        measured_on=name,
        measured_s=time.perf_counter() - start,
    )
