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
    sampler: Sampler,
    stop_ids: Sequence[int],
    max_tokens: int | None,
) -> Iterator[Token]:
    """The reply's tokens as they are made, the stop token included.

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
        logits = _next_logits(model, ids, cache)
        chosen = sampler.choose(logits, seen, position)
        yield Token(chosen, float(logits[chosen] - logits.logsumexp(0)))
        if chosen in stop_ids:
            return
        ids = torch.tensor([chosen], device=weight.device)
        seen = torch.cat((seen, ids))


def _next_logits(model: Gemma4, ids: torch.Tensor, cache: PlainCache) -> torch.Tensor:
    """Logits (V,) of the token that follows; `ids` are appended to the cache's sequence."""
    parts = torch.split(ids, PREFILL_ROWS)
    for number, part in enumerate(parts, start=1):
        wanted = [len(part) - 1] if number == len(parts) else []
        step = next_step(cache, len(part), torch.tensor(wanted, dtype=torch.long, device=ids.device))
        hidden = model(model.embed(part), step)  # (1, C); of the earlier parts only K and V are wanted
    return model.logits(hidden)[0]
