"""What is recommended where: the published scores among what fits and is quick."""

from dataclasses import replace

from gemcut.engine.main_memory import MainMemory
from gemcut.family import FAMILIES
from gemcut.fit.advice import Advice, advise
from gemcut.fit.estimate import Estimate, Place, PlaceKind, estimate
from gemcut.fit.rates import Rates
from gemcut.fit.weights import PRECISIONS

GB = 10**9


def rates(read: float) -> Rates:
    return Rates(
        read=dict.fromkeys(PRECISIONS, read),
        multiply=dict.fromkeys(PRECISIONS, 1e12),
        layer_s=1e-4,
        row_s=0.0,
    )


def estimates(memory: int, read: Rates | None, kind: PlaceKind = "cpu") -> list[Estimate]:
    place = Place(kind=kind, memory=MainMemory(total_bytes=memory, free_bytes=memory), rates=read)
    return [estimate(row, precision, place, None) for row in FAMILIES for precision in PRECISIONS]


def taken(advice: list[Advice]) -> dict[str, str]:
    return {one.score.task: f"{one.take.family.name} {one.take.precision}" for one in advice}


def test_much_memory_and_bandwidth_take_the_best_as_it_is() -> None:
    found = taken(advise(estimates(200 * GB, rates(4e12))))
    assert set(found.values()) == {"31b bf16", "12b bf16"}
    assert found["speech"] == "12b bf16"


def test_a_laptop_takes_the_experts_of_which_a_token_needs_few() -> None:
    found = taken(advise(estimates(24 * GB, rates(25e9))))
    assert found["code"] == "26b int4"
    assert found["instructions"] == "26b int4"  # 12b is better at it and too slow
    assert found["speech"] == "e4b int4"


def test_the_most_exact_form_that_is_quick_is_taken() -> None:
    assert taken(advise(estimates(6 * GB, rates(21e9))))["code"] == "e2b int8"
    assert taken(advise(estimates(6 * GB, rates(25e9))))["code"] == "e4b int4"


def test_where_all_are_slow_the_quickest_is_taken() -> None:
    assert set(taken(advise(estimates(60 * GB, rates(1e9)))).values()) == {"e2b int4"}


def test_a_form_that_gemcut_is_slow_in_is_taken_only_where_nothing_else_fits() -> None:
    slow = replace(rates(800e9), unreached=frozenset(("int8", "int4")))
    roomy, narrow = (advise(estimates(memory, slow, kind="gpu")) for memory in (24 * GB, 8 * GB))
    assert taken(roomy)["code"] == "e4b bf16"
    assert taken(narrow)["code"] == "e4b int4"


def test_a_long_text_needs_room() -> None:
    row = next(row for row in FAMILIES if row.name == "e2b")
    place = Place(kind="cpu", memory=MainMemory(total_bytes=0, free_bytes=0), rates=None)
    short = estimate(row, "int4", place, 16_384).memory_bytes
    found = taken(advise(estimates(short, rates(25e9))))
    assert "code" in found
    assert "long texts" not in found


def test_without_speeds_the_best_that_fits_is_taken() -> None:
    assert taken(advise(estimates(40 * GB, None)))["code"] == "31b int8"


def test_where_nothing_with_scores_fits_there_is_no_advice() -> None:
    assert advise(estimates(GB, rates(25e9))) == []


def test_what_fits_only_once_memory_is_freed_is_not_taken() -> None:
    place = Place(kind="cpu", memory=MainMemory(total_bytes=40 * GB, free_bytes=4 * GB), rates=None)
    all_of_them = [estimate(row, precision, place, None) for row in FAMILIES for precision in PRECISIONS]
    found = taken(advise(all_of_them))
    assert (found["code"], found["long texts"]) == ("e4b int4", "e2b int8")
