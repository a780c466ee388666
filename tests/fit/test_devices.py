import re

import pytest

from gemcut.errors import BadOption
from gemcut.family import family
from gemcut.fit.devices import DEVICES, find_device, known_device
from gemcut.fit.estimate import Place, estimate
from gemcut.fit.weights import Precision


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_a_row_has_sane_figures_and_a_source(device: object) -> None:
    row = device
    assert row.source.startswith("https://")  # type: ignore[attr-defined]
    assert all(4 <= gib <= 256 for gib in row.memory_gib)  # type: ignore[attr-defined]
    assert 10 < row.read_gb_s < 10_000  # type: ignore[attr-defined]
    assert 0.05 < row.tflops < 3000  # type: ignore[attr-defined]
    # between 5 and 500 operations for each byte: a digit too many or too few would stand out
    assert 5 < 1000 * row.tflops / row.read_gb_s < 500  # type: ignore[attr-defined]
    assert find_device(row.name) == (row, row.memory_gib[0])  # type: ignore[attr-defined]
    title = row.title.removesuffix(", 40 cores")  # type: ignore[attr-defined]
    assert find_device(title) == (row, row.memory_gib[0])  # type: ignore[attr-defined]


def test_names_are_unique() -> None:
    assert (
        len({device.name for device in DEVICES}) == len({device.title for device in DEVICES}) == len(DEVICES)
    )


@pytest.mark.parametrize(
    ("typed", "name", "gib"),
    [
        ("4090", "4090", 24),
        ("RTX 4090", "4090", 24),
        ("NVIDIA GeForce RTX 4090", "4090", 24),
        ("4060 Ti", "4060-ti", 16),
        ("4060 ti 8gb", "4060-ti", 8),
        ("h100", "h100", 80),
        ("NVIDIA H100 80GB HBM3", "h100", 80),
        ("NVIDIA H100 PCIe", "h100-pcie", 80),
        ("RX 7900 XTX", "7900-xtx", 24),
        ("m2 16gb", "m2", 16),
        ("NVIDIA A100-SXM4-40GB", "a100-40", 40),
        ("a100-80", "a100-80", 80),
        ("m2 max", "m2-max", 32),
        ("Apple M2 Max 96", "m2-max", 96),
        ("m4 pro", "m4-pro", 24),
        ("raspberry pi 5", "raspberry-pi-5", 8),
        ("Raspberry Pi 5 16GB", "raspberry-pi-5", 16),
    ],
)
def test_a_device_is_found_as_people_and_drivers_call_it(typed: str, name: str, gib: int) -> None:
    device, found = find_device(typed)
    assert (device.name, found) == (name, gib)


@pytest.mark.parametrize(
    ("typed", "near"), [("4900", "4090"), ("a100", "a100-40, a100-80"), ("raspbery pi", "raspberry-pi-5")]
)
def test_an_unknown_name_gets_the_nearest(typed: str, near: str) -> None:
    with pytest.raises(BadOption, match=f"no device '{typed}' is known here; the nearest are .*{near}"):
        find_device(typed)


def test_a_name_like_no_other_gets_the_list() -> None:
    with pytest.raises(BadOption, match=re.escape("no device '?' is known here; there are 3060, 3070")):
        find_device("?")
    assert known_device("?") is None


@pytest.mark.parametrize("typed", ["2x 4090", "2 x RTX 4090", "4090 x2", "4090x2"])
def test_several_devices_are_refused_as_what_gemcut_does_not_use(typed: str) -> None:
    with pytest.raises(BadOption, match=f"one device, not on '{typed}'; ask with --for '4090'"):
        find_device(typed)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("3060 8gb", "GeForce RTX 3060 is known here with 12 GB, not with 8"),  # its memory is slower
        ("m4 max 36", "Apple M4 Max, 40 cores is known here with 48 or 64 or 128 GB, not with 36"),
    ],
)
def test_memory_that_a_device_is_not_sold_with_is_refused(typed: str, said: str) -> None:
    with pytest.raises(BadOption, match=said):
        find_device(typed)


@pytest.mark.parametrize("typed", ["4090 laptop", "NVIDIA GeForce RTX 4090 Laptop GPU", "4090 D"])
def test_another_device_of_nearly_the_same_name_is_not_taken_for_it(typed: str) -> None:
    assert known_device(typed) is None


@pytest.mark.parametrize(
    ("name", "mib"), [("m1 8", 5461), ("m4", 10_922), ("m2 max", 21_845), ("m2 max 64", 49_152)]
)
def test_a_mac_leaves_two_thirds_or_three_quarters_to_its_gpu(name: str, mib: int) -> None:
    device, gib = find_device(name)
    memory = device.memory(gib)
    assert memory.total_bytes == memory.free_bytes
    assert memory.free_bytes // 2**20 == mib  # as llama.cpp's logs show it on such machines


def test_what_programs_reach_is_less_than_the_figures() -> None:
    rates = find_device("h200")[0].rates
    assert rates.read["int4"] == 0.8 * 4.8e12
    assert rates.multiply["bf16"] == rates.multiply["int4"] == 0.5 * 989e12


def test_on_a_gpu_gemcut_is_not_so_fast_in_blocks_and_elsewhere_it_is() -> None:
    assert find_device("4090")[0].rates.unreached == {"int8", "int4"}
    assert find_device("raspberry pi 5")[0].rates.unreached == frozenset()


@pytest.mark.parametrize(
    ("device", "size", "precision", "published"),
    [
        ("3090", "e4b", "int4", 146),
        ("3090", "12b", "int4", 70.5),
        ("h100", "26b", "bf16", 199),
        ("m1 max", "e2b", "int4", 81),
        ("m4", "e2b", "int4", 42),
        ("m4 pro", "26b", "int4", 60),
        ("raspberry pi 5", "e2b", "int4", 8),
    ],
)
def test_it_decodes_about_as_quickly_as_people_have_measured(
    device: str, size: str, precision: Precision, published: float
) -> None:
    """Of llama.cpp, ollama, vLLM and LiteRT: facts/benchmarks.md, and docs/log.md, where outliers are too."""
    row, gib = find_device(device)
    place = Place(kind="cpu" if row.kind == "board" else "gpu", memory=row.memory(gib), rates=row.rates)
    found = estimate(family(size), precision, place, None)
    assert found.decode_per_s == pytest.approx(published, rel=0.25)
