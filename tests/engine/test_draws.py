"""Random numbers of a seed, a position and a sample."""

import numpy as np

from gemcut.engine.draws import uniform

NUMBERS = np.arange(20_000, dtype=np.uint64)
ZERO = np.zeros(20_000, dtype=np.uint64)
PINNED = [0.13870941014555427, 0.34163131066679175, 0.3286006242081262]


def flat(numbers: np.ndarray) -> bool:
    """Whether 100 bins are filled evenly, by chi square, and neighbours are unrelated."""
    counts = np.histogram(numbers, bins=100, range=(0, 1))[0]
    expected = len(numbers) / 100
    chi_square = ((counts - expected) ** 2 / expected).sum()
    correlation = np.corrcoef(numbers[:-1], numbers[1:])[0, 1]
    return bool(abs(chi_square - 99) < 5 * 198**0.5 and abs(correlation) < 5 * len(numbers) ** -0.5)


def test_numbers_are_spread_evenly_along_each_of_seed_position_and_sample() -> None:
    assert flat(uniform(NUMBERS, ZERO, ZERO))
    assert flat(uniform(ZERO, NUMBERS, ZERO))
    assert flat(uniform(ZERO, ZERO, NUMBERS))


def test_streams_of_neighbouring_seeds_and_samples_are_unrelated() -> None:
    base = uniform(ZERO + 7, NUMBERS, ZERO)
    for other in (uniform(ZERO + 8, NUMBERS, ZERO), uniform(ZERO + 7, NUMBERS, ZERO + 1)):
        assert abs(np.corrcoef(base, other)[0, 1]) < 5 * 20_000**-0.5
        assert not np.any(base == other)


def test_seed_position_and_sample_are_not_exchangeable() -> None:
    one, two = np.array([1], dtype=np.uint64), np.array([2], dtype=np.uint64)
    assert uniform(one, two, one)[0] != uniform(two, one, one)[0] != uniform(one, one, two)[0]


def test_a_number_does_not_depend_on_its_batch() -> None:
    alone = uniform(NUMBERS[5:6], NUMBERS[5:6], ZERO[:1])
    assert alone[0] == uniform(NUMBERS, NUMBERS, ZERO)[5]


def test_numbers_are_what_they_always_were() -> None:
    """A seed that someone wrote down keeps its reply."""
    seeds = np.array([0, 1, 2**63 - 1], dtype=np.uint64)
    assert uniform(seeds, [0, 1, 2], np.array([0, 0, 3], dtype=np.uint64)).tolist() == PINNED
