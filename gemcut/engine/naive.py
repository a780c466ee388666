"""The naive loop: one sequence, one token at a time.  What any faster engine must equal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from gemcut.engine.constraint import Constraint, compute_masks, unpack
from gemcut.engine.logprobs import TokenLogprobs, token_logprobs
from gemcut.engine.sampling import BatchSampler
from gemcut.engine.sampling_params import Sampling
from gemcut.engine.stop_conditions import StopConditions
from gemcut.errors import EmptyPrompt, PromptTooLong
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import PlainCache, next_step

PREFILL_ROWS = 2048  # of a long prompt at a time, which bounds the memory of its masks
SCORED_ROWS = 64  # whose logits are held at a time: 64 MiB with Gemma's vocabulary


@dataclass(slots=True)
class Token:
    """A token of the reply.

    logprobs: None unless the request wants them.  ends: whether what the reply must follow ends with it.
    """

    id: int
    logprobs: TokenLogprobs | None
    ends: bool = False


def check_prompt(prompt_ids: Sequence[int], context: int, new_tokens: int) -> None:
    """Raises EmptyPrompt or PromptTooLong unless the context has room for the prompt and so many more."""
    if not prompt_ids:
        raise EmptyPrompt("the prompt has no tokens; give some text")
    if len(prompt_ids) + new_tokens > context:
        raise PromptTooLong(
            f"the prompt has {len(prompt_ids)} tokens and this model's context holds {context},"
            " the reply included; shorten the prompt"
        )


def advanced(constraint: Constraint, token_id: int) -> bool:
    """Tells the constraint of the next token; returns whether none may follow it."""
    constraint.advance(token_id)
    return constraint.ended


@torch.inference_mode()
def generate(
    model: Gemma4,
    prompt_ids: Sequence[int],
    soft: torch.Tensor,
    sampling: Sampling,
    stops: StopConditions,
    constraint: Constraint | None = None,
) -> Iterator[Token]:
    """The reply's tokens as they are made, the stop token included.

    soft: (S, C), the soft tokens of the prompt's media, one for each placeholder.
    constraint: says which tokens may come, and is told each that did.
    Ends when `stops` says so, or when the context is full.  Raises EmptyPrompt, PromptTooLong.
    """
    config = model.config.text
    check_prompt(prompt_ids, config.max_position_embeddings, new_tokens=1)
    device = model.model.language_model.norm.weight.device
    limit = stops.most_tokens(config.max_position_embeddings - len(prompt_ids))
    cache = PlainCache(config, len(prompt_ids) + limit, device)
    sampler = BatchSampler(1, config.vocab_size, device)
    sampler.put(0, sampling, prompt_ids)
    ids = torch.tensor(prompt_ids, device=device)
    for position in range(limit):
        logits = _next_logits(model, ids, soft, cache)
        ids, soft = sampler.choose(logits, [0], [position], _permitted(constraint, logits)), soft[:0]
        sampler.observe([0], ids)
        chosen = int(ids[0])
        ends = constraint is not None and advanced(constraint, chosen)
        stops.push(chosen, ends)
        yield Token(chosen, sampler.logprobs(logits, [0], ids)[0], ends)
        if stops.over:
            return


@torch.inference_mode()
def score_prompt(
    model: Gemma4, prompt_ids: Sequence[int], soft: torch.Tensor, num_top: int
) -> tuple[TokenLogprobs, ...]:
    """Log probabilities of every token of a prompt but the first, and of the num_top likeliest in its place.

    Logits are made for SCORED_ROWS tokens at a time.  Raises EmptyPrompt, PromptTooLong.
    """
    config = model.config.text
    check_prompt(prompt_ids, config.max_position_embeddings, new_tokens=0)
    ids = torch.tensor(prompt_ids, device=model.model.language_model.norm.weight.device)
    cache = PlainCache(config, len(ids), ids.device)
    scored: list[TokenLogprobs] = []
    following = ids[1:]
    for hidden in _hidden(model, ids, soft, cache, every_row=True):
        for part in torch.split(hidden, SCORED_ROWS):
            known = following[: len(part)]
            following = following[len(part) :]
            if len(known):
                scored += token_logprobs(model.logits(part[: len(known)]), known, num_top)
    return tuple(scored)


def _permitted(constraint: Constraint | None, logits: torch.Tensor) -> torch.Tensor | None:
    """The tokens (1, V) that may come; None where all may."""
    num_ids = logits.shape[-1]
    packed = compute_masks([constraint], (num_ids + 31) // 32)
    return None if packed is None else unpack(packed.to(logits.device), num_ids)


def _next_logits(model: Gemma4, ids: torch.Tensor, soft: torch.Tensor, cache: PlainCache) -> torch.Tensor:
    """Logits (1, V) of the token that follows; `ids` are appended to the cache's sequence."""
    *_, last = _hidden(model, ids, soft, cache, every_row=False)
    return model.logits(last)


def _hidden(
    model: Gemma4, ids: torch.Tensor, soft: torch.Tensor, cache: PlainCache, every_row: bool
) -> Iterator[torch.Tensor]:
    """The hidden states (M, C) of every row, or of the last alone, part by part; `ids` go into the cache."""
    images = model.image_blocks(ids)
    start = 0
    for end in _ends(len(ids), images):
        part = ids[start:end]
        last = [len(part) - 1] if end == len(ids) else []  # of the earlier parts only K and V are wanted
        wanted = None if every_row else torch.tensor(last, dtype=torch.long, device=ids.device)
        step = next_step(cache, len(part), wanted, None if images is None else images[start:end])
        if len(soft):
            here = int(model.placeholders(part).sum())
            embedded, soft = model.embed_with_soft_tokens(part, soft[:here]), soft[here:]
        else:
            embedded = model.embed(part)
        yield model(embedded, step)
        start = end


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
