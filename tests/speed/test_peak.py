import subprocess
import sys

PROGRAM = """
from gemcut.speed.peak import peak_bytes
before = peak_bytes()
held = b"x" * 100_000_000
grown = peak_bytes()
del held
print(before, grown, peak_bytes())
"""


def test_it_grows_with_what_is_held_and_stays_when_that_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    before, grown, after = map(int, done.stdout.split())
    assert 100_000_000 < grown - before < 110_000_000
    assert after > grown - 2**20  # the system counts in lumps
