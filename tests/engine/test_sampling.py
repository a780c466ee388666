"""Sampling for a batch: the distribution against transformers'; the same tokens alone and in any batch."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LogitsProcessorList
from transformers.generation import logits_process as theirs

from gemcut.engine import sampling as module
from gemcut.engine.sampling import ONE, PARAMETERS, BatchSampler, contenders, draw, filtered
from gemcut.engine.sampling_params import Sampling

CPU = torch.device("cpu")
PLAIN = Sampling(seed=1)
GREEDY = Sampling(temperature=0)


def logits(seed: int = 0, size: int = 50, rows: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(rows, size, generator=generator, dtype=torch.float64)


def sampler_of(samplings: Sequence[Sampling], size: int, prompt: Sequence[int] = ()) -> BatchSampler:
    sampler = BatchSampler(len(samplings), size, CPU)
    for slot, sampling in enumerate(samplings):
        sampler.put(slot, sampling, prompt)
    return sampler


def choose(sampling: Sampling, scores: torch.Tensor, position: int = 0) -> int:
    """The token of one row of logits (V,)."""
    return int(sampler_of([sampling], len(scores)).choose(scores[None].clone(), [0], [position])[0])


def distribution(sampling: Sampling, scores: torch.Tensor) -> torch.Tensor:
    """Probabilities (V,) of a row of logits (V,)."""
    row = np.zeros(1, PARAMETERS)
    top_k = 0 if sampling.top_k is None else sampling.top_k
    row[0] = (sampling.temperature, top_k, sampling.top_p, sampling.min_p, 0, 0, -1)
    weights = filtered(scores[None], row)[0].double()
    return weights / weights.sum()


@given(
    seed=st.integers(0, 100),
    size=st.sampled_from([50, 3000]),
    temperature=st.floats(0.1, 3),
    top_k=st.none() | st.integers(1, 60),
    top_p=st.floats(0.05, 0.99) | st.just(1.0),
    min_p=st.floats(0, 0.5),
)
@settings(max_examples=150, deadline=None)
def test_the_distribution_equals_that_of_transformers(
    seed: int, size: int, temperature: float, top_k: int | None, top_p: float, min_p: float
) -> None:
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    chain = LogitsProcessorList([theirs.TemperatureLogitsWarper(temperature)])
    if top_k is not None:
        chain.append(theirs.TopKLogitsWarper(top_k))
    if top_p < 1:
        chain.append(theirs.TopPLogitsWarper(top_p))
    chain.append(theirs.MinPLogitsWarper(min_p))
    want = chain(None, logits(seed, size).clone())[0].softmax(0)
    torch.testing.assert_close(distribution(sampling, logits(seed, size)[0]), want, atol=1e-9, rtol=0)


def test_equally_likely_tokens_share_their_fate_at_top_k() -> None:
    """As in transformers: bfloat16 makes many logits equal, and which of them comes first must not count."""
    scores = torch.tensor([2.0, 1.0, 1.0, 1.0, 0.0])
    want = theirs.TopKLogitsWarper(2)(None, scores[None].clone())[0].softmax(0)
    torch.testing.assert_close(distribution(Sampling(top_k=2), scores), want.double())
    assert (want > 0).tolist() == [True, True, True, True, False]


@given(st.integers(0, 50), st.integers(1, 40), st.sampled_from([50, 2048, 5000]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_top_k_cannot_take_is_not_looked_at_and_changes_nothing(
    seed: int, top_k: int, size: int, rounded: bool
) -> None:
    scores = logits(seed, size, rows=3)
    scores = scores.round() if rounded else scores  # many of them equal
    row = np.zeros(3, PARAMETERS)
    row[:] = (1.0, top_k, 0.9, 0.01, 0, 0, -1)
    marks = torch.tensor([0.0, 0.5, 0.999], dtype=torch.float64)
    some, ids = contenders(scores, top_k)
    want = draw(filtered(scores, row), marks)
    assert torch.equal(ids.gather(1, draw(filtered(some, row), marks)[:, None])[:, 0], want)
    assert size < 5000 or rounded or some.shape[1] < size


def test_a_nucleus_of_more_tokens_than_are_tried_first_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = logits(size=400)[0] / 10
    want = distribution(Sampling(top_p=0.9), scores)
    monkeypatch.setattr(module, "NUCLEUS", 20)
    assert torch.equal(distribution(Sampling(top_p=0.9), scores), want)
    assert int((want > 0).sum()) > 200


@given(seed=st.integers(0, 100), penalty=st.floats(0.5, 2), bias=st.floats(-5, 5), id_=st.integers(0, 49))
@settings(max_examples=50, deadline=None)
def test_bias_and_repetition_penalty_equal_those_of_transformers(
    seed: int, penalty: float, bias: float, id_: int
) -> None:
    prompt, made = [3, 7, 7, 20], [7, 9, 20]
    seen = torch.tensor([prompt + made])
    chain = LogitsProcessorList(
        [
            theirs.SequenceBiasLogitsProcessor({(id_,): bias}),
            theirs.RepetitionPenaltyLogitsProcessor(penalty),
            theirs.SuppressTokensLogitsProcessor([11]),
        ]
    )
    want = chain(seen, logits(seed).clone())[0]
    sampling = replace(PLAIN, repetition_penalty=penalty, logit_bias=((id_, bias),), suppress_ids=(11,))
    torch.testing.assert_close(adjusted(sampling, logits(seed), prompt, made), want, atol=1e-5, rtol=0)


def adjusted(
    sampling: Sampling, scores: torch.Tensor, prompt: Sequence[int], made: Sequence[int]
) -> torch.Tensor:
    """The logits (V,) from which a token is chosen, after `made` came one by one."""
    sampler = sampler_of([sampling], scores.shape[1], prompt)
    for token_id in made:
        sampler.observe([0], torch.tensor([token_id]))
    changed = scores.clone()
    sampler._adjustments.apply(changed, np.array([0]), np.array([len(made)]))
    return changed[0]


def test_presence_and_frequency_penalties_count_the_reply_alone() -> None:
    sampling = replace(PLAIN, presence_penalty=0.5, frequency_penalty=0.25)
    change = adjusted(sampling, logits(), [3, 3, 8], [8, 8, 5, 8]) - logits()[0]
    want = torch.zeros(50, dtype=torch.float64)
    want[8], want[5] = -0.5 - 3 * 0.25, -0.5 - 0.25
    torch.testing.assert_close(change, want)


@given(
    prompt=st.lists(st.integers(0, 19), max_size=8),
    made=st.lists(st.integers(0, 19), max_size=200),
    known=st.integers(0, 200),
)
@settings(max_examples=60, deadline=None)
def test_counts_kept_token_by_token_equal_those_of_the_history(
    prompt: list[int], made: list[int], known: int
) -> None:
    """A preempted reply comes back with tokens that it has already."""
    sampling = replace(PLAIN, repetition_penalty=1.3, presence_penalty=0.5, frequency_penalty=0.1)
    sampler = BatchSampler(3, 20, CPU)
    sampler.put(2, GREEDY, [1, 2, 3])
    sampler.put(1, sampling, prompt, made[:known])
    for token_id in made[known:]:
        sampler.observe([2, 1], torch.tensor([4, token_id]))
    got = logits(size=20, rows=2)
    sampler._adjustments.apply(got, np.array([1, 2]), np.array([0, 0]))
    want = logits(size=20, rows=2)
    for token_id in range(20):
        if token_id in prompt or token_id in made:
            want[0, token_id] *= 1.3 if want[0, token_id] < 0 else 1 / 1.3
        want[0, token_id] -= 0.1 * made.count(token_id) + 0.5 * (token_id in made)
    torch.testing.assert_close(got, want)


def test_min_tokens_forbids_the_stop_ids_until_then() -> None:
    best = int(logits().argmax())
    sampling = replace(GREEDY, stop_ids=(best,), min_tokens=2)
    assert choose(sampling, logits()[0], position=1) != best
    assert choose(sampling, logits()[0], position=2) == best


def test_suppressed_ids_are_never_chosen() -> None:
    best = int(logits().argmax())
    assert choose(replace(GREEDY, suppress_ids=(best,)), logits()[0]) != best


def test_a_bias_of_minus_100_bans_and_one_of_100_forces() -> None:
    worst, best = int(logits().argmin()), int(logits().argmax())
    assert choose(replace(GREEDY, logit_bias=((worst, 100.0),)), logits()[0]) == worst
    assert choose(replace(GREEDY, logit_bias=((best, -100.0),)), logits()[0]) != best


def test_logits_are_in_the_end_what_they_were() -> None:
    sampling = replace(PLAIN, suppress_ids=(1, 2), repetition_penalty=1.5)
    scores = logits(rows=2)
    sampler_of([sampling, GREEDY], 50, [3, 4]).choose(scores, [0, 1], [0, 0])
    assert torch.equal(scores, logits(rows=2))


def test_only_permitted_tokens_are_chosen() -> None:
    sampler = sampler_of([GREEDY, replace(PLAIN, temperature=50.0)], 50)
    permitted = torch.zeros(2, 50, dtype=torch.bool)
    permitted[0, 7] = permitted[1, 8] = permitted[1, 9] = True
    for position in range(20):
        first, second = sampler.choose(logits(rows=2), [0, 1], [position] * 2, permitted).tolist()
        assert (first, second in (8, 9)) == (7, True)


def test_where_a_grammar_permits_the_end_alone_min_tokens_gives_way() -> None:
    sampler = sampler_of([replace(PLAIN, stop_ids=(7,), min_tokens=10)], 50)
    permitted = torch.zeros(1, 50, dtype=torch.bool)
    permitted[0, 7] = True
    assert sampler.choose(logits(), [0], [0], permitted).tolist() == [7]


ANY_SAMPLING = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.7, 1.0, 2.0]),
    top_k=st.sampled_from([None, 1, 3, 40, 2000]),
    top_p=st.sampled_from([1.0, 0.95, 0.3]),
    min_p=st.sampled_from([0.0, 0.05]),
    repetition_penalty=st.sampled_from([1.0, 1.3]),
    presence_penalty=st.sampled_from([0.0, 0.5]),
    suppress_ids=st.sampled_from([(), (1, 5)]),
    seed=st.integers(0, 2**63 - 1),
)


@given(st.lists(ANY_SAMPLING, min_size=1, max_size=9), st.sampled_from([50, 1024, 5000]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_token_is_the_same_alone_and_in_any_batch(
    samplings: list[Sampling], size: int, in_float32: bool
) -> None:
    scores = logits(size=size, rows=len(samplings))
    scores = scores.float() if in_float32 else scores
    prompt, slots = [2, 3, 4], list(range(len(samplings)))[::-1]
    positions = [3 * slot for slot in slots]
    together = sampler_of(samplings, size, prompt).choose(scores.clone(), slots, positions).tolist()
    for row, slot in enumerate(slots):
        alone = sampler_of([samplings[slot]], size, prompt)
        assert alone.choose(scores[row : row + 1].clone(), [0], [positions[row]]).tolist() == [together[row]]


def test_draws_follow_the_probabilities() -> None:
    """Chi square of 20,000 draws over 600 tokens, which span two blocks of weights."""
    scores = logits(seed=3, size=600)[0] / 3
    want = distribution(PLAIN, scores) * 20_000
    sampler = sampler_of([PLAIN], 600)
    rows = scores.expand(2000, -1)
    drawn = [
        sampler.choose(rows.clone(), [0] * 2000, list(range(start, start + 2000)))
        for start in range(0, 20_000, 2000)
    ]
    counts = torch.bincount(torch.cat(drawn), minlength=600)
    chi_square = float(((counts - want) ** 2 / want).sum())
    assert 600 - 5 * 1200**0.5 < chi_square < 600 + 5 * 1200**0.5


def test_a_draw_finds_the_token_at_every_share_of_the_whole() -> None:
    weights = torch.zeros(1, 1300, dtype=torch.long)
    weights[0, [3, 511, 512, 1299]] = torch.tensor([ONE, ONE // 2, ONE // 4, ONE // 4])
    marks = [0.0, 0.4999, 0.5, 0.7499, 0.75, 0.8749, 0.875, 1 - 2**-53]
    got = draw(weights.expand(8, -1), torch.tensor(marks, dtype=torch.float64))
    assert got.tolist() == [3, 3, 511, 511, 512, 512, 1299, 1299]


def test_the_same_seed_and_place_give_the_same_token_and_others_do_not() -> None:
    flat = torch.zeros(1000)
    draws = [choose(PLAIN, flat, position) for position in range(20)]
    assert draws == [choose(PLAIN, flat, position) for position in range(20)]
    assert draws != [choose(replace(PLAIN, seed=2), flat, position) for position in range(20)]
    assert len(set(draws)) > 15


def test_samples_of_one_seed_differ() -> None:
    sampler = BatchSampler(20, 1000, CPU)
    for sample in range(20):
        sampler.put(sample, replace(PLAIN, sample=sample), [])
    assert len(set(sampler.choose(torch.zeros(20, 1000), list(range(20)), [0] * 20).tolist())) > 15


def test_temperature_0_takes_the_likeliest() -> None:
    assert choose(GREEDY, logits()[0]) == int(logits().argmax())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_temperature_next_to_0_is_finite_and_takes_the_likeliest(dtype: torch.dtype) -> None:
    assert choose(replace(PLAIN, temperature=1e-320), logits()[0].to(dtype)) == int(logits().argmax())


def test_top_p_1_keeps_all_tokens() -> None:
    """Rounded sums reach 1 before the last of many tokens; those behind once were lost."""
    scores = torch.cat((torch.zeros(1), torch.full((100_000,), -28.0)))
    assert int((distribution(PLAIN, scores) > 0).sum()) == 100_001


def test_each_request_gets_the_logprobs_that_it_wants() -> None:
    samplings = [GREEDY, replace(GREEDY, logprobs=0), replace(PLAIN, logprobs=3, suppress_ids=(0,))]
    scores = logits(rows=3)
    none, one, three = sampler_of(samplings, 50).logprobs(scores, [0, 1, 2], torch.tensor([4, 5, 6]))
    want = scores.log_softmax(-1)
    assert none is None
    assert one is not None
    assert (one.token_id, one.top) == (5, ())
    assert one.logprob == pytest.approx(float(want[1, 5]))
    assert three is not None
    assert [token_id for token_id, _ in three.top] == want[2].topk(3).indices.tolist()
    assert [value for _, value in three.top] == pytest.approx(want[2].topk(3).values.tolist())
