"""Sampling: the filters against transformers', seeds, and options that make no sense."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LogitsProcessorList
from transformers.generation import logits_process as theirs

from gemcut.config import GenerationConfig
from gemcut.engine.sampling import Sampler, SamplingParams
from gemcut.errors import BadSampling

PLAIN = Sampler(
    temperature=1.0, top_k=None, top_p=1.0, min_p=0.0, repetition_penalty=1.0, seed=1, suppress_ids=()
)
DEFAULTS = GenerationConfig(
    stop_ids=(1,),
    suppress_ids=(3,),
    do_sample=True,
    temperature=1.0,
    top_k=64,
    top_p=0.95,
    min_p=0.0,
    repetition_penalty=1.2,
)
NOTHING_SEEN = torch.tensor([], dtype=torch.long)


def logits(seed: int = 0, size: int = 50) -> torch.Tensor:
    return 3 * torch.randn(size, generator=torch.Generator().manual_seed(seed))


@given(
    seed=st.integers(0, 100),
    temperature=st.floats(0.1, 3),
    top_k=st.integers(1, 60),
    top_p=st.floats(0.05, 1),
    min_p=st.floats(0, 0.5),
)
@settings(max_examples=150, deadline=None)
def test_the_distribution_equals_that_of_transformers(
    seed: int, temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    sampler = replace(PLAIN, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    chain = LogitsProcessorList(
        [
            theirs.TemperatureLogitsWarper(temperature),
            theirs.TopKLogitsWarper(top_k),
            theirs.TopPLogitsWarper(top_p),
            theirs.MinPLogitsWarper(min_p),
        ]
    )
    want = chain(None, logits(seed)[None])[0].softmax(0)
    probabilities, ids = sampler.candidates(logits(seed))
    got = torch.zeros(50).index_put((ids,), (probabilities / probabilities.sum()).float())
    torch.testing.assert_close(got, want, atol=1e-5, rtol=0)


def test_the_repetition_penalty_equals_that_of_transformers() -> None:
    seen = torch.tensor([3, 7, 7, 20])
    want = theirs.RepetitionPenaltyLogitsProcessor(1.3)(seen[None], logits()[None])[0]
    torch.testing.assert_close(replace(PLAIN, repetition_penalty=1.3).penalised(logits(), seen), want)


def test_draws_follow_the_probabilities() -> None:
    scores = torch.tensor([0.5, 0.25, 0.125, 0.125]).log()
    draws = [PLAIN.choose(scores, NOTHING_SEEN, position) for position in range(4000)]
    shares = torch.bincount(torch.tensor(draws), minlength=4) / 4000
    torch.testing.assert_close(shares, scores.exp(), atol=0.03, rtol=0)


def test_the_same_seed_and_place_give_the_same_token_and_others_do_not() -> None:
    flat = torch.zeros(1000)
    draws = [PLAIN.choose(flat, NOTHING_SEEN, position) for position in range(20)]
    assert draws == [PLAIN.choose(flat, NOTHING_SEEN, position) for position in range(20)]
    assert draws != [replace(PLAIN, seed=2).choose(flat, NOTHING_SEEN, position) for position in range(20)]
    assert len(set(draws)) > 15


def test_temperature_0_takes_the_likeliest() -> None:
    assert replace(PLAIN, temperature=0.0).choose(logits(), NOTHING_SEEN, 0) == int(logits().argmax())


def test_suppressed_ids_are_never_chosen() -> None:
    best = int(logits().argmax())
    assert replace(PLAIN, temperature=0.0, suppress_ids=(best,)).choose(logits(), NOTHING_SEEN, 0) != best


def test_the_model_s_defaults_complete_what_the_user_leaves_out() -> None:
    sampler = Sampler.resolve(SamplingParams(top_k=5, seed=9), DEFAULTS)
    assert sampler == Sampler(
        temperature=1.0, top_k=5, top_p=0.95, min_p=0.0, repetition_penalty=1.2, seed=9, suppress_ids=(3,)
    )


def test_temperature_0_is_a_temperature_and_no_missing_value() -> None:
    assert Sampler.resolve(SamplingParams(temperature=0), DEFAULTS).temperature == 0


def test_a_model_that_does_not_sample_is_greedy_unless_told_otherwise() -> None:
    greedy = replace(DEFAULTS, do_sample=False)
    assert Sampler.resolve(SamplingParams(), greedy).temperature == 0
    assert Sampler.resolve(SamplingParams(temperature=0.5), greedy).temperature == 0.5


def test_filters_are_refused_where_the_model_s_own_choice_is_greedy() -> None:
    """Once they were taken and ignored: nano's generation_config.json says do_sample false."""
    greedy = replace(DEFAULTS, do_sample=False)
    with pytest.raises(BadSampling, match="so top_p would be ignored"):
        Sampler.resolve(SamplingParams(top_p=0.9), greedy)
    assert Sampler.resolve(SamplingParams(top_p=0.9, temperature=1.0), greedy).top_p == 0.9


def test_top_p_1_keeps_all_tokens() -> None:
    """Rounded sums reach 1 before the last of many tokens; those behind once were lost."""
    scores = torch.cat((torch.zeros(1), torch.full((100_000,), -30.0)))
    assert len(PLAIN.candidates(scores)[1]) == 100_001


def test_a_temperature_next_to_0_is_finite_and_takes_the_likeliest() -> None:
    cold = replace(PLAIN, temperature=1e-320)
    assert cold.choose(logits(), NOTHING_SEEN, 0) == int(logits().argmax())


def test_without_a_seed_each_reply_has_its_own() -> None:
    assert (
        Sampler.resolve(SamplingParams(), DEFAULTS).seed != Sampler.resolve(SamplingParams(), DEFAULTS).seed
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1}, "temperature is -1; it must be between 0 and 100"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_k": 0}, "top_k is 0; it must be between 1"),
        ({"top_p": 0}, "top_p is 0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"min_p": 2}, "min_p is 2"),
        ({"repetition_penalty": 0}, "repetition_penalty is 0"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"seed": -5}, "seed is -5"),
        ({"seed": 2**63}, "seed is 9223372036854775808"),
        ({"max_tokens": 2.5}, "max_tokens is 2.5; it must be a whole number"),
        ({"stop": ["a", ""]}, "a stop text is empty"),
        (
            {"temperature": 0, "top_p": 0.9},
            "temperature 0 always takes the likeliest token, so top_p would be ignored",
        ),
        ({"temperature": 0, "top_k": 40, "min_p": 0.1}, "so top_k, min_p would be ignored"),
    ],
)
def test_options_out_of_range_or_at_odds_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(BadSampling, match=message):
        SamplingParams(**options)


def test_neutral_filters_go_with_greedy_choice() -> None:
    SamplingParams(temperature=0, top_p=1.0, min_p=0.0)
