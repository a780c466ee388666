import pytest
import torch

from gemcut.engine.main_memory import MainMemory
from gemcut.errors import BadOption
from gemcut.fit import here
from gemcut.fit.here import look_here, unmeasured
from gemcut.fit.machine import Gpu, Machine, Processor
from gemcut.fit.rates import Rates
from gemcut.fit.weights import PRECISIONS

MEMORY = MainMemory(total_bytes=16 * 10**9, free_bytes=12 * 10**9)
OWN = MainMemory(total_bytes=24 * 10**9, free_bytes=23 * 10**9)
RATES = Rates(read=dict.fromkeys(PRECISIONS, 1e9), multiply=dict.fromkeys(PRECISIONS, 1e9), layer_s=1e-4)


def machine(*gpus: Gpu) -> Machine:
    return Machine(
        processor=Processor(name="a CPU", cores=2, instructions=("AVX2",)), memory=MEMORY, gpus=gpus
    )


def test_the_cpu_is_measured_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here, "read_machine", machine)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("gemcut.fit.measure.measure", lambda device: RATES)
    found = look_here(None)
    assert (found.place.kind, found.place.memory, found.place.rates) == ("cpu", MEMORY, RATES)
    assert found.measured_s is not None


def test_a_device_that_is_not_here_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(BadOption, match="device 'cuda' cannot be used here"):
        look_here("cuda")


def test_without_torch_the_memory_is_known_and_the_speed_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here, "find_spec", lambda name: None)
    monkeypatch.setattr(here, "read_machine", machine)
    found = look_here(None)
    assert (found.place.kind, found.place.memory, found.place.rates) == ("cpu", MEMORY, None)
    assert found.measured_s is None


def test_a_gpu_that_the_table_knows_has_its_speed_without_torch() -> None:
    place = unmeasured(machine(Gpu(name="NVIDIA GeForce RTX 4090", memory=OWN)))
    assert (place.kind, place.memory) == ("gpu", OWN)
    assert place.rates is not None
    assert place.rates.read["bf16"] == 0.8 * 1008e9


def test_a_gpu_without_memory_of_its_own_has_the_main_memory() -> None:
    place = unmeasured(machine(Gpu(name="NVIDIA GB10", memory=None)))
    assert (place.kind, place.memory, place.rates) == ("gpu", MEMORY, None)
