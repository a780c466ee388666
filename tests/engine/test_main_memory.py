from pathlib import Path

import pytest

from gemcut.engine.main_memory import MainMemory, main_memory, parse_memory_info

INFO = """MemTotal:       24684092 kB
MemFree:        15344708 kB
MemAvailable:   22808228 kB
HugePages_Total:       0
"""
WHOLE = MainMemory(total_bytes=24_684_092 * 1024, free_bytes=22_808_228 * 1024)
GB = 10**9


@pytest.fixture
def info(tmp_path: Path) -> Path:
    (tmp_path / "meminfo").write_text(INFO)
    return tmp_path / "meminfo"


def grouped(folder: Path, limit: str, used: int, inactive: int) -> Path:
    folder.mkdir()
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {inactive}\nactive_file 7\n")
    return folder


def test_linux_says_what_there_is_and_what_can_be_had() -> None:
    assert parse_memory_info(INFO) == WHOLE


def test_without_a_container_the_machine_counts(info: Path, tmp_path: Path) -> None:
    assert main_memory(info, tmp_path / "none") == WHOLE
    assert main_memory(info, grouped(tmp_path / "group", "max", 5 * GB, 0)) == WHOLE


def test_a_container_has_what_its_limit_leaves(info: Path, tmp_path: Path) -> None:
    found = main_memory(info, grouped(tmp_path / "group", str(8 * GB), 5 * GB, 2 * GB))
    assert found == MainMemory(total_bytes=8 * GB, free_bytes=5 * GB)  # 2 of the 5 used are a file cache


def test_a_limit_above_the_machine_changes_nothing(info: Path, tmp_path: Path) -> None:
    assert main_memory(info, grouped(tmp_path / "group", str(64 * GB), GB, 0)) == WHOLE


def test_elsewhere_than_on_linux_half_is_taken_for_free(tmp_path: Path) -> None:
    found = main_memory(tmp_path / "none", tmp_path)
    assert found.free_bytes == found.total_bytes // 2 > 0


def test_this_machine_has_memory() -> None:
    here = main_memory()
    assert 0 < here.free_bytes <= here.total_bytes
