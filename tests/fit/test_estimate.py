"""Whether it fits, with how many tokens, and how fast: arithmetic that can be followed by hand."""

from dataclasses import replace

import pytest

from gemcut.engine.main_memory import MainMemory
from gemcut.engine.memory import plan_memory, sequence_bytes
from gemcut.engine.options import GPU_FREE_SHARE
from gemcut.engine.pages import PAGE_TOKENS
from gemcut.engine.scheduler import Limits
from gemcut.family import FAMILIES, Family, family
from gemcut.fit.estimate import (
    CACHE_PERCENT,
    PROCESS_BYTES,
    Place,
    PlaceKind,
    decode_s,
    estimate,
    prefill_s,
    working_bytes,
)
from gemcut.fit.rates import Rates
from gemcut.fit.weights import PRECISIONS, Precision, size_weights

GB = 10**9
RATES = Rates(
    read=dict.fromkeys(PRECISIONS, 25e9), multiply=dict.fromkeys(PRECISIONS, 140e9), layer_s=1e-4, row_s=0.0
)
each_size = pytest.mark.parametrize("row", FAMILIES, ids=lambda row: row.name)


def with_memory(num_bytes: int, total: int | None = None, kind: PlaceKind = "cpu") -> Place:
    memory = MainMemory(total_bytes=num_bytes if total is None else total, free_bytes=num_bytes)
    return Place(kind=kind, memory=memory, rates=RATES)


@each_size
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_a_context_fits_in_the_memory_that_it_is_said_to_take_and_not_in_a_byte_less(
    row: Family, precision: Precision, kind: PlaceKind
) -> None:
    for tokens in (4000, row.size.context):
        needed = estimate(row, precision, with_memory(0, kind=kind), tokens).memory_bytes
        enough = estimate(row, precision, with_memory(needed, kind=kind), tokens)
        assert (enough.verdict, enough.memory_bytes) == ("fits", needed)
        assert tokens <= enough.context < tokens + PAGE_TOKENS
        assert estimate(row, precision, with_memory(needed - 1, kind=kind), tokens).verdict == "does not fit"


@each_size
def test_the_largest_context_is_the_one_that_the_engine_would_cut_out_of_what_is_left(row: Family) -> None:
    memory = 3 * GB + size_weights(row.size, "int4").text_bytes
    found = estimate(row, "int4", with_memory(memory), None)
    limits = Limits(step_tokens=512, max_running=1)
    plan = plan_memory(row.size.text, memory - found.resident_bytes, 2, PAGE_TOKENS, limits)
    assert found.context == plan.context
    if found.context < row.size.context:
        more = estimate(row, "int4", with_memory(memory), found.context + 1)
        assert more.verdict == "does not fit"
        assert more.memory_bytes > memory
    assert found.memory_bytes <= memory


def test_keys_and_values_are_what_they_were_counted_to_be() -> None:
    text = family("31b").size.text
    short, long = (
        estimate(family("31b"), "int4", with_memory(0), tokens).memory_bytes for tokens in (8192, 262_144)
    )
    assert long - short == sum(sequence_bytes(text, 262_144, 2)) - sum(sequence_bytes(text, 8192, 2))


def test_on_a_gpu_keys_and_values_get_the_share_that_the_engine_gives_them() -> None:
    row = family("31b")
    weights = size_weights(row.size, "int4")
    left = 8 * GB
    held = weights.text_bytes + weights.media_bytes + PROCESS_BYTES["gpu"]
    found = estimate(row, "int4", with_memory(held + left, kind="gpu"), None)
    limits = Limits(step_tokens=2048, max_running=1)
    plan = plan_memory(row.size.text, int(GPU_FREE_SHARE * left), 2, PAGE_TOKENS, limits)
    assert found.context == plan.context < row.size.context
    assert CACHE_PERCENT["gpu"] == 100 * GPU_FREE_SHARE


def test_memory_that_others_hold_may_be_freed() -> None:
    found = estimate(family("12b"), "int4", with_memory(4 * GB, total=16 * GB), None)
    assert found.verdict == "fits once memory is freed"
    assert found.context == 0


def test_the_system_itself_never_frees_its_memory() -> None:
    needed = estimate(family("12b"), "int4", with_memory(0), None).memory_bytes
    total = needed * 100 // 90
    assert estimate(family("12b"), "int4", with_memory(0, total - GB), None).verdict == "does not fit"
    assert estimate(family("12b"), "int4", with_memory(0, total + GB), None).verdict != "does not fit"


def test_more_than_the_model_is_made_for_does_not_fit_anywhere() -> None:
    found = estimate(family("e2b"), "int4", with_memory(1000 * GB), 131_073)
    assert (found.verdict, found.context) == ("does not fit", 131_072)


def test_a_few_tokens_are_not_enough_unless_they_are_asked_for() -> None:
    row = family("e2b")
    place = with_memory(estimate(row, "int4", with_memory(0), 1000).memory_bytes)
    assert estimate(row, "int4", place, None).verdict == "does not fit"
    assert estimate(row, "int4", place, 1000).verdict == "fits"


def test_on_a_gpu_nothing_stays_on_disk() -> None:
    row, place = family("e2b"), with_memory(24 * GB)
    weights = size_weights(row.size, "bf16")
    on_cpu, on_gpu = (
        estimate(row, "bf16", replace(place, kind=kind), None).resident_bytes
        - PROCESS_BYTES[kind]
        - working_bytes(row.size.text, kind)
        for kind in ("cpu", "gpu")
    )
    assert on_cpu == weights.text_bytes
    assert on_gpu == weights.text_bytes + weights.table_bytes + weights.media_bytes


def test_a_token_takes_the_time_of_reading_what_it_needs() -> None:
    size = family("e2b").size
    seconds = decode_s(size.text, size_weights(size, "bf16"), 100, 1, RATES)
    keys_values = 100 * (28 * 1024 + 7 * 2048)  # 28 sliding layers, 7 full ones: those that share read too
    assert seconds == pytest.approx((2 * size.active_parameters + keys_values) / 25e9 + 35 * 1e-4)


def test_far_back_only_full_layers_see() -> None:
    size = family("e2b").size
    weights = size_weights(size, "int4")
    near, far = (decode_s(size.text, weights, context, 1, RATES) for context in (512, 10_512))
    assert far - near == pytest.approx(10_000 * 7 * 2048 / 25e9)


def test_a_prompt_takes_the_time_of_its_products_and_of_one_token_through_the_rest() -> None:
    size = family("e2b").size
    weights = size_weights(size, "bf16")
    products = 512 * 2 * weights.prompt_values["bf16"] / 140e9
    rest = weights.last_bytes["bf16"] / 25e9
    assert prefill_s(size.text, weights, 512, RATES) == pytest.approx(products + rest + 35 * 1e-4)


def test_a_prompt_takes_the_time_of_what_stands_between_its_products_in_the_layers_it_runs_through() -> None:
    text = family("e2b").size.text
    weights = size_weights(family("e2b").size, "bf16")
    more = prefill_s(text, weights, 512, replace(RATES, row_s=1e-9)) - prefill_s(text, weights, 512, RATES)
    assert more == pytest.approx(512 * (15 * 1536 + 12 * 8 * 256 + 3 * 8 * 512) * 1e-9)


def test_a_prompt_is_no_faster_than_its_experts_are_read() -> None:
    size, quick = family("26b").size, replace(RATES, multiply=dict.fromkeys(PRECISIONS, 1e15))
    weights = size_weights(size, "int4")
    assert prefill_s(size.text, weights, 512, quick) > sum(weights.prompt_bytes.values()) / 25e9


def test_a_form_that_is_slow_to_read_is_slow() -> None:
    size, weights = family("e2b").size, size_weights(family("e2b").size, "int4")
    slow = replace(RATES, read={**RATES.read, "int4": 1e9})
    assert decode_s(size.text, weights, 1, 1, slow) > 20 * decode_s(size.text, weights, 1, 1, RATES) - 0.1


def test_where_nothing_is_known_of_speed_nothing_is_said_of_it() -> None:
    found = estimate(family("e2b"), "int4", replace(with_memory(8 * GB), rates=None), None)
    assert (found.verdict, found.decode_per_s, found.prefill_per_s) == ("fits", None, None)
    assert found.reached


def test_what_only_the_device_allows_is_said_to_be_that() -> None:
    slow = replace(RATES, unreached=frozenset(("int4",)))
    reached = {
        one: estimate(family("e2b"), one, replace(with_memory(8 * GB), rates=slow), None).reached
        for one in PRECISIONS
    }
    assert reached == {"bf16": True, "int8": True, "int4": False}
