"""The fields of requests that say how tokens are chosen, and what `SamplingParams` they come to."""

from typing import Annotated

from pydantic import Field
from pydantic.fields import FieldInfo

from gemcut.engine.sampling_params import ANY, LIMITS, SamplingParams
from gemcut.server.fields import Fields
from gemcut.server.refusal import Refusal

MOST_STOPS, MOST_STOP_IDS, MOST_BIASED = 64, 1024, 1024
LONGEST_STOP = 256  # characters: each piece of a reply is held against each beginning of a stop
LARGEST = 2**53  # a whole number that every client's JSON can hold


def within(name: str) -> FieldInfo:
    """The limits that the engine has for a number."""
    _, low, high, _ = LIMITS[name]
    info: FieldInfo = Field(ge=low, le=LARGEST if high == ANY else high)
    return info


Text = Annotated[str, Field(min_length=1)]
Stop = Annotated[str, Field(min_length=1, max_length=LONGEST_STOP)]
Stops = Annotated[list[Stop], Field(max_length=MOST_STOPS)]
TokenId = Annotated[int, Field(ge=0, le=LARGEST)]
Bias = Annotated[float, Field(ge=-100, le=100)]


class SamplingFields(Fields):
    """What chat and completions share: OpenAI's fields, and those of vLLM where OpenAI has none."""

    temperature: Annotated[float, within("temperature")] | None = None
    top_p: Annotated[float, within("top_p")] | None = None
    top_k: Annotated[int, within("top_k")] | None = None
    min_p: Annotated[float, within("min_p")] | None = None
    frequency_penalty: Annotated[float, within("frequency_penalty")] | None = None
    presence_penalty: Annotated[float, within("presence_penalty")] | None = None
    repetition_penalty: Annotated[float, within("repetition_penalty")] | None = None
    logit_bias: Annotated[dict[str, Bias], Field(max_length=MOST_BIASED)] | None = None
    seed: Annotated[int, within("seed")] | None = None
    n: Annotated[int, within("n")] | None = None
    stop: Stop | Stops | None = None
    stop_token_ids: Annotated[list[TokenId], Field(max_length=MOST_STOP_IDS)] | None = None
    max_tokens: Annotated[int, within("max_tokens")] | None = None
    min_tokens: Annotated[int, within("min_tokens")] | None = None

    def params(
        self, most_tokens: int | None, logprobs: int | None, max_thought_tokens: int | None = None
    ) -> SamplingParams:
        """What the engine is asked for.

        most_tokens: of the reply, as far as anybody says.  logprobs: as `SamplingParams` has it.
        Raises BadSampling for values that contradict each other, Refusal for keys of logit_bias.
        """
        stop = () if self.stop is None else self.stop
        given = {
            name: getattr(self, name)
            for name in ("frequency_penalty", "presence_penalty", "n", "min_tokens", "stop_token_ids")
            if getattr(self, name) is not None
        }
        return SamplingParams(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            logit_bias=_bias(self.logit_bias),
            seed=self.seed,
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            max_tokens=most_tokens,
            logprobs=logprobs,
            max_thought_tokens=max_thought_tokens,
            **given,
        )


def capped(asked: int | None, most: int | None, field: str = "max_tokens") -> int | None:
    """How many tokens a reply may have.  Raises Refusal 400 for more than the operator lets anybody have.

    field: what the request calls it.
    """
    if asked is not None and most is not None and asked > most:
        raise Refusal(400, f"{field} is {asked} and this server gives at most {most}", param=field)
    return most if asked is None else asked


def check_samples(count: int, most: int) -> None:
    """Raises Refusal 400 for more replies than one request may have."""
    if count > most:
        raise Refusal(400, f"n is {count} replies in all and {most} are the most", param="n")


def _bias(given: dict[str, float] | None) -> dict[int, float]:
    """JSON's keys are strings."""
    if given is None:
        return {}
    if wrong := [key for key in given if not (key.isascii() and key.isdigit())]:
        raise Refusal(
            400, f"logit_bias has the key {wrong[0]!r}; its keys must be token ids", param="logit_bias"
        )
    return {int(key): value for key, value in given.items()}
