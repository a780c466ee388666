"""How much main memory there is for this process, and how much of it can be had without swapping."""

import os
from dataclasses import dataclass
from pathlib import Path

MEMORY_INFO = Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")  # of a container: its own limits stand here


@dataclass(frozen=True, kw_only=True)
class MainMemory:
    """Bytes of main memory, and of what is free: empty, or a cache of files that can be dropped."""

    total_bytes: int
    free_bytes: int


def main_memory(info: Path = MEMORY_INFO, group: Path = GROUP) -> MainMemory:
    """This machine's, or the container's where that is less; without Linux's figures, half of all is free."""
    if not info.exists():
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return MainMemory(total_bytes=pages, free_bytes=pages // 2)
    whole = parse_memory_info(info.read_text())
    limit = group / "memory.max"
    most = limit.read_text().strip() if limit.exists() else "max"
    if not most.isdigit():  # "max": no limit
        return whole
    used = int((group / "memory.current").read_text()) - _dropped_if_needed(group / "memory.stat")
    return MainMemory(
        total_bytes=min(whole.total_bytes, int(most)),
        free_bytes=max(0, min(whole.free_bytes, int(most) - used)),
    )


def parse_memory_info(text: str) -> MainMemory:
    """What /proc/meminfo says."""
    lines = (line.split() for line in text.splitlines())
    kib = {line[0]: int(line[1]) for line in lines if len(line) > 1}
    return MainMemory(total_bytes=1024 * kib["MemTotal:"], free_bytes=1024 * kib["MemAvailable:"])


def _dropped_if_needed(stat: Path) -> int:
    """Bytes of files that a container's memory holds and has not used lately."""
    lines = (line.split() for line in stat.read_text().splitlines())
    return next((int(line[1]) for line in lines if line[0] == "inactive_file"), 0)
