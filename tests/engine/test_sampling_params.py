"""Options of sampling: their checks, and how the model's defaults complete them."""

from dataclasses import replace
from typing import Any

import pytest

from gemcut.config import GenerationConfig
from gemcut.engine.sampling_params import LIMITS, Sampling, SamplingParams
from gemcut.errors import BadSampling

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


def resolve(params: SamplingParams, defaults: GenerationConfig = DEFAULTS) -> Sampling:
    return Sampling.resolve(params, defaults, vocab_size=100)


def test_the_model_s_defaults_complete_what_the_user_leaves_out() -> None:
    assert resolve(SamplingParams(top_k=5, seed=9)) == Sampling(
        top_k=5, top_p=0.95, repetition_penalty=1.2, seed=9, suppress_ids=(3,), stop_ids=(1,)
    )


def test_every_option_of_the_user_s_counts() -> None:
    params = SamplingParams(
        temperature=0.5,
        top_k=7,
        top_p=0.5,
        min_p=0.1,
        repetition_penalty=1.5,
        presence_penalty=0.25,
        frequency_penalty=-0.5,
        logit_bias={8: 2.5},
        seed=4,
        min_tokens=6,
        stop_token_ids=[9, 1],
        logprobs=2,
    )
    assert resolve(params) == Sampling(
        temperature=0.5,
        top_k=7,
        top_p=0.5,
        min_p=0.1,
        repetition_penalty=1.5,
        presence_penalty=0.25,
        frequency_penalty=-0.5,
        logit_bias=((8, 2.5),),
        suppress_ids=(3,),
        stop_ids=(1, 9),
        min_tokens=6,
        seed=4,
        logprobs=2,
    )


def test_temperature_0_is_a_temperature_and_no_missing_value() -> None:
    assert resolve(SamplingParams(temperature=0)).temperature == 0


def test_a_model_that_does_not_sample_is_greedy_unless_told_otherwise() -> None:
    greedy = replace(DEFAULTS, do_sample=False)
    assert resolve(SamplingParams(), greedy).temperature == 0
    assert resolve(SamplingParams(temperature=0.5), greedy).temperature == 0.5


def test_filters_are_refused_where_the_model_s_own_choice_is_greedy() -> None:
    """Once they were taken and ignored: nano's generation_config.json says do_sample false."""
    greedy = replace(DEFAULTS, do_sample=False)
    with pytest.raises(BadSampling, match="so top_p would be ignored"):
        resolve(SamplingParams(top_p=0.9), greedy)
    assert resolve(SamplingParams(top_p=0.9, temperature=1.0), greedy).top_p == 0.9


def test_without_a_seed_each_reply_has_its_own() -> None:
    assert resolve(SamplingParams()).seed != resolve(SamplingParams()).seed


def test_ids_that_the_model_does_not_have_are_refused() -> None:
    with pytest.raises(BadSampling, match="logit_bias has the token id 100 and this model's ids end at 99"):
        resolve(SamplingParams(logit_bias={100: 1}))
    with pytest.raises(BadSampling, match="stop_token_ids has the token id 100"):
        resolve(SamplingParams(stop_token_ids=[100]))


@pytest.mark.parametrize("name", [name for name, (kind, *_) in LIMITS.items() if kind is int])
@pytest.mark.parametrize("value", [2.5, True, "3"])
def test_counts_must_be_whole_numbers(name: str, value: Any) -> None:
    with pytest.raises(BadSampling, match=f"{name} is .* it must be a whole number"):
        SamplingParams(**{name: value})


@pytest.mark.parametrize("name", [name for name, (kind, *_) in LIMITS.items() if kind is float])
@pytest.mark.parametrize("value", ["0.5", [1.0]])
def test_other_numbers_must_be_numbers(name: str, value: Any) -> None:
    with pytest.raises(BadSampling, match=f"{name} is .* it must be a number"):
        SamplingParams(**{name: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1}, "temperature is -1; it must be between 0 and 100"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_k": 0}, "top_k is 0; it must be 1 or more"),
        ({"top_p": 0}, "top_p is 0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"min_p": 2}, "min_p is 2"),
        ({"repetition_penalty": 0}, "repetition_penalty is 0"),
        ({"presence_penalty": 2.5}, "presence_penalty is 2.5; it must be between -2 and 2"),
        ({"frequency_penalty": -3}, "frequency_penalty is -3"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"min_tokens": -1}, "min_tokens is -1; it must be 0 or more"),
        ({"min_tokens": 9, "max_tokens": 5}, "min_tokens is 9 and max_tokens 5"),
        ({"seed": -5}, "seed is -5"),
        ({"seed": 2**63}, "seed is 9223372036854775808"),
        ({"n": 0}, "n is 0"),
        ({"logprobs": 21}, "logprobs is 21; it must be between 0 and 20"),
        ({"prompt_logprobs": -1}, "prompt_logprobs is -1"),
        ({"max_thought_tokens": 0}, "max_thought_tokens is 0; it must be 1 or more"),
        ({"stop": ["a", ""]}, "a stop text is empty"),
        ({"stop": [5]}, "give texts, and token ids as stop_token_ids"),
        ({"stop_token_ids": ["a"]}, "stop_token_ids has 'a'; give token ids, and texts as stop"),
        ({"logit_bias": {"a": 1}}, "logit_bias has the key 'a'; its keys must be token ids"),
        ({"logit_bias": {5: 101}}, "logit_bias of token 5 is 101; it must be from -100 to 100"),
        (
            {"temperature": 0, "top_p": 0.9},
            "temperature 0 always takes the likeliest token, so top_p would be ignored",
        ),
        ({"temperature": 0, "top_k": 40, "min_p": 0.1}, "so top_k, min_p would be ignored"),
        ({"temperature": 0, "n": 3}, "so the 3 replies would be equal"),
    ],
)
def test_options_out_of_range_or_at_odds_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadSampling, match=message):
        SamplingParams(**options)


def test_neutral_filters_go_with_greedy_choice() -> None:
    SamplingParams(temperature=0, top_p=1.0, min_p=0.0)
