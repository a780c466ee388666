"""Random numbers that are a function of where they are used, not of what was drawn before."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.uint64]


def uniform(seeds: Numbers, positions: Sequence[int] | Numbers, samples: Numbers) -> NDArray[np.float64]:
    """Numbers (R,) in [0, 1), evenly spread and each its own for every seed, position and sample's number.

    Whole-number arithmetic only, so equal on every machine.
    """
    state = _mix(seeds)
    state = _mix(state ^ np.asarray(positions, dtype=np.uint64))
    state = _mix(state ^ samples)
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(x: Numbers) -> Numbers:
    """One step of splitmix64 (Steele, Lea and Flood 2014), which sends neighbours far apart."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
