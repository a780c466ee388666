"""A prompt, and how its continuation is chosen, as the engine takes them."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from gemcut.config import MediaTokens
from gemcut.engine.constraint import Constraint
from gemcut.engine.request import MediaSpan, Request
from gemcut.engine.sampling_params import Sampling
from gemcut.engine.stop_conditions import StopConditions
from gemcut.prompt.media import Prepared, PreparedImage

LATEST_TURNS = 3  # whose ends stay findable, beside the end of the first
EVERY = 2048  # tokens of a long prompt after which another one may part from it


@dataclass(frozen=True, slots=True)
class Choice:
    """How the tokens of one sample are chosen, and when it ends.

    stops: without texts, which the reader of its stream looks for.
    """

    sampling: Sampling
    stops: StopConditions
    constraint: Constraint | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A request with what is needed to choose its tokens.

    choices: one for each of its samples.  soft: (S, C), the soft tokens of its media, in order.
    prompt_logprobs: how many likeliest tokens are told beside each of the prompt's own; None for no scores.
    """

    request: Request
    choices: tuple[Choice, ...]
    soft: Tensor
    prompt_logprobs: int | None = None


def media_spans(
    ids: Sequence[int], media: Sequence[Prepared], tokens: MediaTokens, whole_images: bool
) -> tuple[MediaSpan, ...]:
    """Where the soft tokens of a prompt's media stand.

    whole_images: whether the rows of an image see each other both ways.
    """
    placeholders = {tokens.image, tokens.audio, tokens.video}
    spans: list[MediaSpan] = []
    at = 0
    for item in media:
        while ids[at] not in placeholders:
            at += 1
        whole = whole_images and isinstance(item, PreparedImage)
        spans.append(MediaSpan(at, at + item.tokens, item.digest, whole))
        at += item.tokens
    return tuple(spans)


def turn_ends(ids: Sequence[int], turn_close: int) -> tuple[int, ...]:
    """Places of a prompt where other prompts are likely to part from it.

    The end of its first turn, which many conversations share, of its latest ones, and, in what is long
    without being cut into turns, every so many tokens.
    """
    ends = [place + 2 for place, token_id in enumerate(ids) if token_id == turn_close]  # a newline follows
    chosen = {*ends[:1], *ends[-LATEST_TURNS:], *range(EVERY, len(ids), EVERY)}
    return tuple(sorted(end for end in chosen if end <= len(ids)))
