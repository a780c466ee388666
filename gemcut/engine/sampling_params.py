"""What a request says about its sampling, checked, and completed by the model's own defaults.

The names are those of OpenAI's API where it has one, else vLLM's.
"""

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gemcut.config import GenerationConfig
from gemcut.errors import BadSampling

ANY = math.inf
LIMITS: dict[str, tuple[type, float, float, str]] = {
    "temperature": (float, 0, 100, "0 is greedy, 1 is the model's own distribution"),
    "top_k": (int, 1, ANY, "a number as large as the vocabulary keeps all tokens"),
    "top_p": (float, 1e-9, 1, "1 keeps all tokens"),
    "min_p": (float, 0, 1, "0 keeps all tokens"),
    "repetition_penalty": (float, 0.01, 100, "1 is none"),
    "presence_penalty": (float, -2, 2, "0 is none"),
    "frequency_penalty": (float, -2, 2, "0 is none"),
    "seed": (int, 0, 2**63 - 1, "leave it out for a new one each time"),
    "n": (int, 1, 1024, "1 gives one reply"),
    "max_tokens": (int, 1, ANY, "leave it out for no limit but the context"),
    "min_tokens": (int, 0, ANY, "0 lets the model stop at once"),
    "logprobs": (int, 0, 20, "0 gives those of the chosen tokens alone"),
    "prompt_logprobs": (int, 0, 20, "0 gives those of the prompt's tokens alone"),
    "max_thought_tokens": (int, 1, ANY, "leave it out for no limit"),
}  # of each number: its type, the least, the most, a hint
NEUTRAL = {"top_p": 1.0, "min_p": 0.0}  # values of filters that filter nothing


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How the next token is chosen and when to stop; None takes the model's own default.

    temperature: 0 always takes the likeliest token.
    top_k: draw among the k likeliest only, and those as likely as the last of them.
    top_p: among the fewest whose probabilities reach p (1 for all).
    min_p: not those below p times the likeliest one's probability (0 for all).
    repetition_penalty: divides the (positive) logits of tokens of the prompt and the reply; 1 for none.
    presence_penalty: taken from the logits of tokens that the reply has.  frequency_penalty: the same, times
    how often it has them.
    logit_bias: added to the logits of these token ids, -100 to 100.
    seed: the same seed gives the same tokens; None draws a new one.
    n: so many replies to one prompt, each with draws of its own.
    max_tokens: None goes on until the model stops or the context is full.
    min_tokens: no stop id and no stop text among so many first tokens.
    stop: texts that end the reply and are not part of it; one string or several.
    stop_token_ids: more ids that end the reply, beside the model's own; their text is not part of it.
    logprobs: log probabilities of the reply's tokens, and of so many likeliest ones in each place; None for
    none at all.  prompt_logprobs: the same of the prompt's tokens.
    max_thought_tokens: how many tokens a thought may have before it is closed; None for any number.

    Raises BadSampling for values out of range and for those that greedy choice (temperature 0) would ignore.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    n: int = 1
    max_tokens: int | None = None
    min_tokens: int = 0
    stop: str | Sequence[str] = ()
    stop_token_ids: Sequence[int] = ()
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    max_thought_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in LIMITS:
            _check_number(name, getattr(self, name))
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        object.__setattr__(self, "stop", stop)
        object.__setattr__(self, "stop_token_ids", tuple(self.stop_token_ids))
        _check_stops(stop, self.stop_token_ids)
        _check_bias(self.logit_bias)
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise BadSampling(
                f"min_tokens is {self.min_tokens} and max_tokens {self.max_tokens}; make it no larger"
            )
        if self.temperature == 0:
            self._check_greedy()

    def _check_greedy(self) -> None:
        filters = {"top_k": self.top_k, "top_p": self.top_p, "min_p": self.min_p}
        idle = [name for name, value in filters.items() if value not in (None, NEUTRAL.get(name))]
        if idle:
            raise BadSampling(
                f"temperature 0 always takes the likeliest token, so {', '.join(idle)} would be ignored;"
                " leave them out or raise the temperature"
            )
        if self.n > 1:
            raise BadSampling(
                f"temperature 0 always takes the likeliest token, so the {self.n} replies would be equal;"
                " leave out n or raise the temperature"
            )


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How one reply's tokens are chosen, every choice made; what is not given changes nothing.

    stop_ids: not chosen among the first `min_tokens` tokens.  suppress_ids: never chosen.
    logprobs: how many likeliest tokens' log probabilities are wanted in each place beside the chosen one's;
    None for none at all.  sample: which of the request's n replies it is, which makes its draws its own.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    suppress_ids: tuple[int, ...] = ()
    stop_ids: tuple[int, ...] = ()
    min_tokens: int = 0
    seed: int = 0
    sample: int = 0
    logprobs: int | None = None

    @classmethod
    def resolve(cls, params: SamplingParams, defaults: GenerationConfig, vocab_size: int) -> "Sampling":
        """The user's options where given, else those of the model's generation_config.json.

        Raises BadSampling for filters without a temperature where the model's own choice is greedy, and for
        token ids that the model does not have.
        """
        temperature = params.temperature
        if temperature is None:
            temperature = defaults.temperature if defaults.do_sample else 0.0
            replace(params, temperature=temperature)  # checks the two together
        _check_ids("logit_bias", params.logit_bias, vocab_size)
        _check_ids("stop_token_ids", params.stop_token_ids, vocab_size)
        penalty = params.repetition_penalty
        return cls(
            temperature=temperature,
            top_k=(defaults.top_k if defaults.top_k else None) if params.top_k is None else params.top_k,
            top_p=defaults.top_p if params.top_p is None else params.top_p,
            min_p=defaults.min_p if params.min_p is None else params.min_p,
            repetition_penalty=defaults.repetition_penalty if penalty is None else penalty,
            presence_penalty=params.presence_penalty,
            frequency_penalty=params.frequency_penalty,
            logit_bias=tuple(params.logit_bias.items()),
            suppress_ids=defaults.suppress_ids,
            stop_ids=tuple(dict.fromkeys((*defaults.stop_ids, *params.stop_token_ids))),
            min_tokens=params.min_tokens,
            seed=secrets.randbits(63) if params.seed is None else params.seed,
            logprobs=params.logprobs,
        )


def _check_number(name: str, value: Any) -> None:
    kind, low, high, hint = LIMITS[name]
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        wanted = "a whole number" if kind is int else "a number"
        raise BadSampling(f"{name} is {value!r}; it must be {wanted} ({hint})")
    if not low <= value <= high:
        limits = f"{low:g} or more" if high == ANY else f"between {low:g} and {high:g}"
        raise BadSampling(f"{name} is {value}; it must be {limits} ({hint})")


def _check_stops(stop: Sequence[str], stop_token_ids: Sequence[int]) -> None:
    if not all(isinstance(text, str) for text in stop):
        raise BadSampling(f"stop is {stop}; give texts, and token ids as stop_token_ids")
    if not all(stop):
        raise BadSampling("a stop text is empty and would end every reply at once; leave it out")
    if wrong := [value for value in stop_token_ids if not _is_id(value)]:
        raise BadSampling(f"stop_token_ids has {wrong[0]!r}; give token ids, and texts as stop")


def _check_bias(bias: Mapping[int, float]) -> None:
    for token_id, value in bias.items():
        if not _is_id(token_id):
            raise BadSampling(f"logit_bias has the key {token_id!r}; its keys must be token ids")
        if not isinstance(value, int | float) or not -100 <= value <= 100:
            raise BadSampling(f"logit_bias of token {token_id} is {value!r}; it must be from -100 to 100")


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _check_ids(name: str, ids: Mapping[int, float] | Sequence[int], vocab_size: int) -> None:
    if unknown := [token_id for token_id in ids if token_id >= vocab_size]:
        raise BadSampling(
            f"{name} has the token id {unknown[0]} and this model's ids end at {vocab_size - 1};"
            " make ids with its own tokenizer"
        )
