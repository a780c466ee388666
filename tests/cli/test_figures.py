import pytest

from gemcut.cli.figures import count, size, speed, tokens


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (7, "7"),
        (999, "999"),
        (1_000, "1.00 k"),
        (4_600_000, "4.60 M"),
        (9_996_000, "10.0 M"),
        (402_653_184, "403 M"),
        (30_697_345_596, "30.7 B"),
    ],
)
def test_counts_have_three_digits(number: int, shown: str) -> None:
    assert count(number) == shown


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "0 B"), (18_432, "18.4 kB"), (10_246_000_000, "10.2 GB"), (999_600, "1000 kB")]
)
def test_sizes_are_in_decimal_units(number: int, shown: str) -> None:
    assert size(number) == shown


@pytest.mark.parametrize(("number", "shown"), [(131_072, "128K"), (512, "512"), (5_000, "5,000")])
def test_lengths_are_in_binary_thousands_where_they_are_some(number: int, shown: str) -> None:
    assert tokens(number) == shown


@pytest.mark.parametrize(
    ("number", "shown"), [(0.31, "0.3"), (9.94, "9.9"), (9.96, "10"), (11_340.2, "11,340")]
)
def test_speeds_are_as_exact_as_they_are_worth(number: float, shown: str) -> None:
    assert speed(number) == shown
