"""This machine as a place for models: what it has, and how fast it was a moment ago."""

import time
from dataclasses import dataclass
from importlib.util import find_spec

from gemcut.engine.main_memory import MainMemory
from gemcut.fit.devices import known_device
from gemcut.fit.estimate import Place
from gemcut.fit.machine import Machine, read_machine


@dataclass(frozen=True, kw_only=True)
class Here:
    """The machine, and the place in it where `gemcut run` puts models.

    measured_s: how long it was measured; None where torch is missing, and nothing could be.
    """

    machine: Machine
    place: Place
    measured_s: float | None


def look_here(device: str | None) -> Here:
    """This machine.  device: "cpu", "cuda", "cuda:1" …; None takes a GPU where there is one.

    Raises BadOption for a device that cannot be used.
    """
    machine = read_machine()
    if find_spec("torch") is None:
        return Here(machine=machine, place=unmeasured(machine), measured_s=None)
    return _measured(machine, device)


def unmeasured(machine: Machine) -> Place:
    """The first GPU, with what is known of it; else the CPU, of whose speed nothing is."""
    gpu = machine.gpus[0] if machine.gpus else None
    if gpu is None:
        return Place(kind="cpu", memory=machine.memory, rates=None)
    known = known_device(gpu.name)
    return Place(
        kind="gpu",
        memory=machine.memory if gpu.memory is None else gpu.memory,
        rates=None if known is None else known[0].rates,
    )


def _measured(machine: Machine, name: str | None) -> Here:
    import torch

    from gemcut.fit.measure import measure
    from gemcut.load import pick_device

    device = pick_device(name)
    memory = machine.memory
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        memory = MainMemory(total_bytes=total, free_bytes=free)
    start = time.perf_counter()
    rates = measure(device)
    place = Place(kind="gpu" if device.type == "cuda" else "cpu", memory=memory, rates=rates)
    return Here(machine=machine, place=place, measured_s=time.perf_counter() - start)
