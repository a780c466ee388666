from concurrent.futures import ThreadPoolExecutor

from gemcut.prompt.latest import Latest


def test_what_was_not_used_for_longest_goes_first() -> None:
    kept: Latest[str] = Latest(10)
    kept.put("a", "A", 4)
    kept.put("b", "B", 4)
    assert kept.get("a") == "A"
    kept.put("c", "C", 4)
    assert [kept.get(key) for key in "abc"] == ["A", None, "C"]


def test_a_value_put_again_takes_its_room_once() -> None:
    kept: Latest[str] = Latest(10)
    for value in ("A", "B", "C"):
        kept.put("a", value, 6)
    kept.put("b", "D", 4)
    assert [kept.get(key) for key in "ab"] == ["C", "D"]


def test_a_value_larger_than_the_room_drives_nothing_out() -> None:
    kept: Latest[str] = Latest(10)
    kept.put("a", "A", 10)
    kept.put("b", "B", 11)
    assert [kept.get(key) for key in "ab"] == ["A", None]


def test_threads_share_it() -> None:
    kept: Latest[int] = Latest(50)

    def use(number: int) -> bool:
        key = number * 7919 % 100
        kept.put(key, key, 1 + key % 3)
        return kept.get(number % 100) in (None, number % 100)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(20_000)))
    assert kept._held_bytes == sum(num_bytes for _, num_bytes in kept._values.values()) <= 50
