import numpy as np

from gemcut.speed.peak import peak_bytes


def test_it_grows_with_what_was_held_and_stays_when_that_is_given_back() -> None:
    before = peak_bytes()
    held = np.ones(before // 8 + 2**20)  # more than all that was there
    grown = peak_bytes()
    del held
    assert grown > before
    assert peak_bytes() >= grown
