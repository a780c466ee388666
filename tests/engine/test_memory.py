"""The memory plan against the arithmetic of the models' shapes."""

import pytest

from gemcut.engine.memory import MemoryPlan, kind_memory, plan_memory, request_bytes, sequence_bytes
from gemcut.engine.scheduler import Limits
from gemcut.errors import BadOption
from gemcut.family import FAMILIES, family

KIB = 1024
GB = 10**9
LIMITS = Limits(step_tokens=512, max_running=16)


def planned(name: str, cache_bytes: int, limits: Limits = LIMITS) -> MemoryPlan:
    return plan_memory(family(name).size.text, cache_bytes, 2, 16, limits)


def test_a_token_of_e2b_takes_12_times_1_kib_within_the_window_and_3_times_2_kib() -> None:
    plan = planned("e2b", 2 * GB)
    assert (plan.sliding.layers, plan.sliding.layer_bytes) == (12, 1 * KIB)
    assert (plan.full.layers, plan.full.layer_bytes) == (3, 2 * KIB)
    assert sequence_bytes(plan.text, 10_000, 2) == (10_000 * 6 * KIB, 512 * 12 * KIB)
    assert sequence_bytes(plan.text, 100, 2) == (100 * 6 * KIB, 100 * 12 * KIB)


def test_the_whole_context_of_31b_takes_13_4_gb_where_k_and_v_apart_take_21_5() -> None:
    text = family("31b").size.text
    full, sliding = sequence_bytes(text, 262_144, 2)
    assert (round(full / GB, 1), round(sliding / GB, 2)) == (13.4, 0.84)
    apart = kind_memory(text, "full_attention", 2, compact=False)
    assert round(262_144 * apart.token_bytes / GB, 1) == 21.5
    assert full * 1024 == 262_144 * apart.token_bytes * 640


def test_with_k_and_v_apart_a_token_takes_what_the_facts_say() -> None:
    per_token = {
        row.name: tuple(
            kind_memory(row.size.text, kind, 2, compact=False).token_bytes
            for kind in ("sliding_attention", "full_attention")
        )
        for row in FAMILIES
        if row.hub_id is not None
    }
    assert per_token == {
        "e2b": (12 * KIB, 3 * 2 * KIB),
        "e4b": (20 * 2 * KIB, 4 * 4 * KIB),
        "12b": (40 * 8 * KIB, 8 * 2 * KIB),
        "26b": (25 * 8 * KIB, 5 * 4 * KIB),
        "31b": (50 * 16 * KIB, 10 * 8 * KIB),
    }


def test_31b_in_bfloat16_holds_its_whole_context_on_a_gpu_of_80_gb() -> None:
    left = 80 * GB - family("31b").size.load_bytes - 3 * GB  # 3 GB for what a step computes
    plan = planned("31b", left)
    assert plan.context == 262_144
    assert plan.cache_bytes <= left


@pytest.mark.parametrize("row", FAMILIES, ids=lambda row: row.name)
@pytest.mark.parametrize("cache_bytes", [2 * GB, 3 * GB + 12_345, 40 * GB])
def test_the_pages_fill_the_memory_and_no_more(row: object, cache_bytes: int) -> None:
    plan = plan_memory(row.size.text, cache_bytes, 2, 16, LIMITS)  # type: ignore[attr-defined]
    assert cache_bytes - 16 * plan.full.token_bytes < plan.cache_bytes <= cache_bytes
    assert plan.num_windows >= 1


@pytest.mark.parametrize("row", FAMILIES, ids=lambda row: row.name)
@pytest.mark.parametrize("tokens", [1, 16, 17, 1000, 4000])
def test_the_least_memory_for_a_request_holds_it_and_a_byte_less_does_not(row: object, tokens: int) -> None:
    text = row.size.text  # type: ignore[attr-defined]
    least = request_bytes(text, tokens, 2, 16, LIMITS.step_tokens)
    assert tokens <= plan_memory(text, least, 2, 16, LIMITS).context < tokens + 16
    if tokens > 16:
        assert plan_memory(text, least - 1, 2, 16, LIMITS).context < tokens
    else:
        with pytest.raises(BadOption, match=f"the shortest request needs {least:,};"):
            plan_memory(text, least - 1, 2, 16, LIMITS)


def test_much_memory_holds_a_window_for_all_that_run_and_as_many_kept_ones() -> None:
    assert planned("e2b", 4 * GB).num_windows >= 2 * LIMITS.max_running


def test_memory_for_no_request_at_all_is_refused_with_what_is_needed() -> None:
    with pytest.raises(
        BadOption, match="cache_bytes is 1,000,000 and the shortest request needs 13,172,736;"
    ):
        planned("e2b", 1_000_000)


def test_the_start_tells_what_fits() -> None:
    assert planned("e2b", 2 * GB).lines() == [
        "memory for keys and values: 2 GB in pages of 16 tokens",
        "  3 full-attention layers × 2 KiB a token: 290,656 tokens",
        "  12 sliding layers × 1 KiB a token of the last 512: 32 windows",
        "  one request of 131,072 tokens takes 805 MB + 6.29 MB",
    ]
    assert planned("31b", 16 * GB).lines()[-1] == (
        "  one request of 262,144 tokens takes 13.4 GB + 839 MB; with K and V apart 21.5 GB + 839 MB"
    )
