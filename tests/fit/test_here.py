from collections.abc import Callable

import pytest
import torch

from gemcut.engine.main_memory import MainMemory
from gemcut.errors import BadOption
from gemcut.fit import here
from gemcut.fit.here import look_here
from gemcut.fit.machine import Machine, Processor
from gemcut.fit.rates import Rates
from gemcut.fit.weights import PRECISIONS

MEMORY = MainMemory(total_bytes=16 * 10**9, free_bytes=12 * 10**9)
RATES = Rates(
    read=dict.fromkeys(PRECISIONS, 1e9), multiply=dict.fromkeys(PRECISIONS, 1e9), layer_s=1e-4, row_s=0.0
)

Measure = Callable[[torch.device], Rates]


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> Callable[[Measure], None]:
    """Puts something quick in the place of the measurement, on a machine that is always the same."""
    processor = Processor(name="a CPU", cores=2, instructions=("AVX2",))
    machine = Machine(processor=processor, memory=MEMORY, gpus=())
    monkeypatch.setattr(here, "read_machine", lambda: machine)
    return lambda measure: monkeypatch.setattr("gemcut.fit.measure.measure", measure)


@pytest.fixture
def _gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second GPU with 24 GB, of which 23 are free."""
    monkeypatch.setattr("gemcut.load.pick_device", lambda name: torch.device(name or "cuda"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (23 * 10**9, 24 * 10**9))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)


def test_the_cpu_is_measured_where_there_is_no_gpu(
    measuring: Callable[[Measure], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    measuring(lambda device: RATES)
    found = look_here(None)
    assert (found.place.kind, found.place.memory, found.place.rates) == ("cpu", MEMORY, RATES)
    assert found.measured_on == "CPU"
    assert found.measured_s >= 0


def test_a_device_that_is_not_here_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(BadOption, match="device 'cuda' cannot be used here"):
        look_here("cuda")


@pytest.mark.usefixtures("_gpu")
@pytest.mark.parametrize(
    ("asked", "name"), [(None, "NVIDIA H200, cuda:0"), ("cuda:1", "NVIDIA H200, cuda:1")]
)
def test_of_a_gpu_its_own_memory_counts_and_it_is_named(
    asked: str | None, name: str, measuring: Callable[[Measure], None]
) -> None:
    measuring(lambda device: RATES)
    found = look_here(asked)
    assert found.place.kind == "gpu"
    assert found.place.memory == MainMemory(total_bytes=24 * 10**9, free_bytes=23 * 10**9)
    assert found.measured_on == name


@pytest.mark.usefixtures("_gpu")
def test_a_gpu_that_others_have_filled_is_an_error_that_says_so(measuring: Callable[[Measure], None]) -> None:
    def fail(device: torch.device) -> Rates:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.\nmore")

    measuring(fail)
    with pytest.raises(
        BadOption, match="NVIDIA H200, cuda:0 has 23,000,000,000 bytes free, too few to measure"
    ):
        look_here(None)
