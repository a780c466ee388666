"""The memory plan against the arithmetic of the models' shapes."""

import pytest

from gemcut.engine.memory import MemoryPlan, kind_memory, plan_memory
from gemcut.engine.scheduler import Limits
from gemcut.errors import BadOption
from gemcut.family import FAMILIES, family, kv_bytes, kv_bytes_per_token

KIB = 1024
GB = 10**9
LIMITS = Limits(step_tokens=512, max_running=16)


def planned(name: str, cache_bytes: int, limits: Limits = LIMITS) -> MemoryPlan:
    return plan_memory(family(name).size.text, cache_bytes, 2, 16, limits)


def test_a_token_of_e2b_takes_12_times_1_kib_within_the_window_and_3_times_2_kib() -> None:
    plan = planned("e2b", 2 * GB)
    assert (plan.sliding.layers, plan.sliding.layer_bytes) == (12, 1 * KIB)
    assert (plan.full.layers, plan.full.layer_bytes) == (3, 2 * KIB)
    assert plan.sequence_bytes(10_000) == (10_000 * 6 * KIB, 512 * 12 * KIB)


def test_the_whole_context_of_31b_takes_13_4_gb_where_k_and_v_apart_take_21_5() -> None:
    plan = planned("31b", 16 * GB)
    full, sliding = plan.sequence_bytes(262_144)
    assert (round(full / GB, 1), round(sliding / GB, 2)) == (13.4, 0.84)
    text = family("31b").size.text
    apart = kind_memory(text, "full_attention", 2, compact=False)
    assert round(262_144 * apart.token_bytes / GB, 1) == 21.5
    assert full * 1024 == 262_144 * apart.token_bytes * 640


@pytest.mark.parametrize("row", FAMILIES, ids=lambda row: row.name)
def test_the_ordinary_form_takes_what_users_are_shown(row: object) -> None:
    text = row.size.text  # type: ignore[attr-defined]
    for kind in ("full_attention", "sliding_attention"):
        assert kind_memory(text, kind, 2, compact=False).token_bytes == kv_bytes_per_token(text, kind)
    if not text.attention_k_eq_v:
        plan = plan_memory(text, 4 * GB, 2, 16, LIMITS)
        assert sum(plan.sequence_bytes(3000)) == kv_bytes(text, 3000)


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
