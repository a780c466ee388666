"""The naive loop: one sequence, one token at a time.  What any faster engine must equal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from gemcut.engine.sampling import Sampler
from gemcut.errors import EmptyPrompt, PromptTooLong
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import PlainCache, next_step

PREFILL_ROWS = 2048  # of a long prompt at a time, which bounds the memory of its masks


@dataclass(frozen=True)
class Token:
    """A token of the reply.

    logprob: its natural-log probability by the model, before temperature and filters.
    """

    id: int
    logprob: float


def check_prompt(prompt_ids: Sequence[int], context: int, new_tokens: int) -> None:
    """Raises EmptyPrompt or PromptTooLong unless the context has room for the prompt and so many more."""
    if not prompt_ids:
        raise EmptyPrompt("the prompt has no tokens; give some text")
    if len(prompt_ids) + new_tokens > context:
        raise PromptTooLong(
            f"the prompt has {len(prompt_ids)} tokens and this model's context holds {context},"
            " the reply included; shorten the prompt"
        )


@torch.inference_mode()
def generate(
    model: Gemma4,
    prompt_ids: Sequence[int],
    soft: torch.Tensor,
    sampler: Sampler,
    stop_ids: Sequence[int],
    max_tokens: int | None,
) -> Iterator[Token]:
    """The reply's tokens as they are made, the stop token included.

    soft: (S, C), the soft tokens of the prompt's media, one for each placeholder.
    Ends after a stop id, after max_tokens, or when the context is full.  Raises EmptyPrompt, PromptTooLong.
    """
    config = model.config.text
    check_prompt(prompt_ids, config.max_position_embeddings, new_tokens=1)
    weight = model.model.language_model.norm.weight
    room = config.max_position_embeddings - len(prompt_ids)
    limit = room if max_tokens is None else min(room, max_tokens)
    cache = PlainCache(config, len(prompt_ids) + limit, weight.device)
    ids = torch.tensor(prompt_ids, device=weight.device)
    seen = ids
    for position in range(limit):
        logits = model.logits(append(model, ids, soft, cache))[0]
        chosen = sampler.choose(logits, seen, position)
        yield Token(chosen, float(logits[chosen] - logits.logsumexp(0)))
        if chosen in stop_ids:
            return
        ids, soft = torch.tensor([chosen], device=weight.device), soft[:0]
        seen = torch.cat((seen, ids))


def append(model: Gemma4, ids: torch.Tensor, soft: torch.Tensor, cache: PlainCache) -> torch.Tensor:
    """Put `ids` behind the cache's sequence; returns the last one's hidden row (1, C)."""
    images = model.image_blocks(ids)
    start = 0
    for end in _ends(len(ids), images):
        part = ids[start:end]
        wanted = torch.tensor([len(part) - 1] if end == len(ids) else [], dtype=torch.long, device=ids.device)
        step = next_step(cache, len(part), wanted, None if images is None else images[start:end])
        if len(soft):
            here = int(model.placeholders(part).sum())
            embedded, soft = model.embed_with_soft_tokens(part, soft[:here]), soft[here:]
        else:
            embedded = model.embed(part)
        hidden: torch.Tensor = model(embedded, step)  # (1, C); of the earlier parts only K and V are wanted
        start = end
    return hidden


def _ends(length: int, images: torch.Tensor | None) -> Iterator[int]:
    """Where the pieces end in which a prompt is read: none within an image that sees itself whole."""
    start = 0
    while start < length:
        end = min(length, start + PREFILL_ROWS)
        if images is not None and end < length and images[end] >= 0:
            inside = (images == images[end]).nonzero()
            begin = int(inside[0])
            end = begin if begin > start else int(inside[-1]) + 1
        yield end
        start = end
