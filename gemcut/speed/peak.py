"""The most memory that this process ever had."""

from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """Bytes that were resident at once so far, pages of mapped files too: VmHWM."""
    lines = (line.split() for line in STATUS.read_text().splitlines())
    return next(1024 * int(line[1]) for line in lines if line[0] == "VmHWM:")
