"""Speeds and floors by hand."""

from dataclasses import replace

import pytest

from gemcut.family import family
from gemcut.fit.rates import Rates
from gemcut.fit.weights import PRECISIONS, size_weights
from gemcut.speed.order import Shape, Taken
from gemcut.speed.outcome import Round, floor_of, speeds_of

E2B = family("e2b").size
RATES = Rates(
    read=dict.fromkeys(PRECISIONS, 25e9), multiply=dict.fromkeys(PRECISIONS, 140e9), layer_s=0.0, row_s=0.0
)
BF16 = size_weights(E2B, "bf16")
ONE = Shape(prompt_tokens=512, batch=1, new_tokens=8)
FOUR = replace(ONE, batch=4)


def taken(prefill_s: float, step_s: float) -> Taken:
    return Taken(prefill_s=prefill_s, step_s=step_s)


def one_round(ours: Taken, theirs: Taken | None = None) -> Round:
    return Round(floor=RATES, ours={ONE: ours, FOUR: ours}, theirs=None if theirs is None else {ONE: theirs})


def test_speeds_are_of_all_requests_together() -> None:
    prefill, decode = speeds_of(E2B.text, BF16, [FOUR], [one_round(taken(4.0, 0.5))])
    assert (prefill.what, prefill.ours) == ("prefill", (4 * 512 / 4.0,))
    assert (decode.what, decode.ours) == ("decode", (4 / 0.5,))
    assert prefill.theirs is prefill.ratios is None


def test_each_round_is_compared_with_itself() -> None:
    rounds = [one_round(taken(1.0, 0.1), taken(2.0, 0.3)), one_round(taken(2.0, 0.2), taken(8.0, 0.2))]
    prefill, decode = speeds_of(E2B.text, BF16, [ONE], rounds)
    assert prefill.theirs == (256, 64)
    assert prefill.ratios == (2, 4)
    assert decode.ratios == pytest.approx((3, 1))


def test_the_share_of_the_floor_is_what_was_made_of_what_could_be() -> None:
    at_best = floor_of(E2B.text, BF16, ONE, RATES)
    slow = taken(2 * at_best.prefill_s, 4 * at_best.step_s)
    prefill, decode = speeds_of(E2B.text, BF16, [ONE], [one_round(slow), one_round(at_best)])
    assert prefill.reached == pytest.approx((0.5, 1))
    assert decode.reached == pytest.approx((0.25, 1))
    assert decode.floors == pytest.approx((1 / at_best.step_s,) * 2)


def test_the_floor_of_a_token_is_its_bytes_over_the_bandwidth() -> None:
    keys_values = 512 * (28 * 1024 + 7 * 2048)
    wanted = (2 * E2B.active_parameters + keys_values) / 25e9
    assert floor_of(E2B.text, BF16, ONE, RATES).step_s == pytest.approx(wanted)


def test_four_replies_read_the_weights_once() -> None:
    quick = replace(RATES, multiply=dict.fromkeys(PRECISIONS, 1e15))
    one, four = (floor_of(E2B.text, BF16, shape, quick).step_s for shape in (ONE, FOUR))
    assert four - one == pytest.approx(3 * 512 * (28 * 1024 + 7 * 2048) / 25e9)
    assert floor_of(E2B.text, BF16, FOUR, RATES).prefill_s > 3.9 * 512 * 2 * 4e8 / 140e9


def test_many_replies_are_bound_by_arithmetic() -> None:
    weights, many = size_weights(E2B, "int4"), replace(ONE, batch=64, prompt_tokens=1)
    wanted = 64 * 2 * E2B.active_parameters / 140e9
    assert floor_of(E2B.text, weights, many, RATES).step_s == pytest.approx(wanted, rel=1e-3)
