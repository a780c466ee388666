"""Processes are measured from their start to their end; what they take is theirs."""

from pathlib import Path

from bench.footprint import Life, lines, live


def test_a_process_that_answers_takes_more_than_one_that_only_holds_torch(nano: Path) -> None:
    base, whole = live(nano, 0, 0, 1), live(nano, 16, 2, 1)
    assert 50e6 < base.peak_bytes < whole.peak_bytes
    assert whole.seconds > 0.1


def test_lines_say_what_is_above_the_base_and_the_middle_time() -> None:
    short = [Life(3.0, 0), Life(1.0, 0), Life(2.0, 0)]
    said = lines(Life(1.0, 400_000_000), short, Life(9.0, 1_700_000_000), 128)
    assert said[1].endswith("1.70 GB, 1.30 GB above")
    assert said[2].endswith("2.00 s (1.00 to 3.00)")
