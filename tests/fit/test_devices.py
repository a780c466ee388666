import re

import pytest

from gemcut.errors import BadOption
from gemcut.fit.devices import DEVICES, GIB, find_device, known_device


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
    with pytest.raises(BadOption, match=re.escape("no device '?' is known here; there are 3060, 3080")):
        find_device("?")
    assert known_device("?") is None


def test_a_mac_leaves_three_quarters_to_its_gpu() -> None:
    device, gib = find_device("m2 max 64")
    memory = device.memory(gib)
    assert (memory.total_bytes, memory.free_bytes) == (64 * GIB, 48 * GIB)


def test_what_programs_reach_is_less_than_the_figures() -> None:
    rates = find_device("h200")[0].rates
    assert rates.read["int4"] == 0.8 * 4.8e12
    assert rates.multiply["bf16"] == 0.5 * 989e12
