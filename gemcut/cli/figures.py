"""Numbers as people read them."""


def count(number: int) -> str:
    """Three digits and a letter: 4_600_000 -> "4.60 M", 30_700_000_000 -> "30.7 B"."""
    for unit, name in ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k")):
        if number >= unit:
            return f"{_three_digits(number / unit)} {name}"
    return str(number)


def size(num_bytes: int) -> str:
    """Three digits and a decimal unit: 10_200_000_000 -> "10.2 GB"."""
    for unit, name in ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")):
        if num_bytes >= unit:
            return f"{_three_digits(num_bytes / unit)} {name}"
    return f"{num_bytes} B"


def tokens(number: int) -> str:
    """A length in tokens, in binary thousands where it is one: 131_072 -> "128K"."""
    return f"{number // 1024}K" if number >= 1024 and number % 1024 == 0 else f"{number:,}"


def speed(number: float) -> str:
    """Two digits and more: 5.13 -> "5.1", 118.2 -> "118", 11_340.0 -> "11,340"."""
    return f"{number:,.{0 if number >= 9.95 else 1}f}"


def _three_digits(number: float) -> str:
    decimals = 0 if number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:.{decimals}f}"
