"""The naive loop with drafts: several tokens a step, and the same tokens as without."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from gemcut.engine.naive import Token, append, check_prompt
from gemcut.engine.sampling import Sampler
from gemcut.engine.speculative import PromptLookup
from gemcut.model.drafter import Drafter, draft_view
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import PlainCache, next_step


class DraftSource(Protocol):
    """Where drafts come from."""

    def draft(self, ids: torch.Tensor, hidden: torch.Tensor, cache: PlainCache, count: int) -> list[int]:
        """At most `count` tokens that may follow.

        ids: (T,), the sequence, of which the cache holds all but the last.
        hidden: (1, C), the model's row that led to the last one.
        """


@dataclass(frozen=True)
class LookupDrafts:
    """What followed the same tokens earlier in the sequence."""

    longest: int
    shortest: int

    def draft(self, ids: torch.Tensor, hidden: torch.Tensor, cache: PlainCache, count: int) -> list[int]:
        """See `DraftSource`; looks through the whole sequence every time."""
        lookup = PromptLookup(self.longest, self.shortest)
        lookup.extend(ids.tolist())
        return lookup.draft(count)


@dataclass(frozen=True)
class DrafterDrafts:
    """What the assistant model finds likeliest, token after token."""

    model: Gemma4
    drafter: Drafter

    def draft(self, ids: torch.Tensor, hidden: torch.Tensor, cache: PlainCache, count: int) -> list[int]:
        """See `DraftSource`."""
        seen, step = draft_view(cache)
        embedding = self.model.model.language_model.embed_tokens
        token, drafted = ids[-1:], []
        for _ in range(count):
            own = self.drafter(embedding(token, hidden.dtype), hidden, seen, step)
            logits, candidates = self.drafter.candidates(own)
            token = candidates.gather(1, logits.argmax(-1, keepdim=True))[0]  # (1,)
            hidden = self.drafter.hand_on(own, step)
            drafted.append(int(token))
        return drafted


@dataclass(frozen=True)
class SpeculativeLoop:
    """The naive loop with drafts of at most `most` tokens."""

    model: Gemma4
    source: DraftSource
    most: int

    @torch.inference_mode()
    def generate(
        self,
        prompt_ids: Sequence[int],
        soft: torch.Tensor,
        sampler: Sampler,
        stop_ids: Sequence[int],
        max_tokens: int | None,
    ) -> Iterator[list[Token]]:
        """The reply's tokens, step by step; all together they are those of `naive.generate`."""
        config = self.model.config.text
        check_prompt(prompt_ids, config.max_position_embeddings, new_tokens=1)
        device = self.model.model.language_model.norm.weight.device
        room = config.max_position_embeddings - len(prompt_ids)
        limit = room if max_tokens is None else min(room, max_tokens)
        cache = PlainCache(config, len(prompt_ids) + limit, device, revocable=self.most)
        ids = torch.tensor(prompt_ids, device=device)
        hidden, drafted, made = append(self.model, ids, soft, cache), list[int](), 0
        while True:
            tokens = self._choose(hidden, drafted, ids, sampler, made)
            cache.take_back(len(drafted) + 1 - len(tokens))
            ends = [place for place, token in enumerate(tokens, start=1) if token.id in stop_ids]
            tokens = tokens[: ends[0]] if ends else tokens
            yield tokens
            made += len(tokens)
            if ends or made == limit:
                return
            ids = torch.cat((ids, torch.tensor([token.id for token in tokens], device=device)))
            hidden = hidden[len(tokens) - 1 : len(tokens)]
            drafted = self.source.draft(ids, hidden, cache, min(self.most, limit - made - 1))
            rows = torch.cat((ids[-1:], torch.tensor(drafted, dtype=ids.dtype, device=device)))
            hidden = self.model(self.model.embed(rows), next_step(cache, len(rows), None))

    def _choose(
        self, hidden: torch.Tensor, drafted: list[int], ids: torch.Tensor, sampler: Sampler, made: int
    ) -> list[Token]:
        """The model's choices, up to and with the first that is not what was drafted.

        hidden: (drafted + 1, C), of the sequence's last token and of the drafted ones.
        """
        tokens = []
        for place, logits in enumerate(self.model.logits(hidden)):
            seen = torch.cat((ids, torch.tensor(drafted[:place], dtype=ids.dtype, device=ids.device)))
            chosen = sampler.choose(logits, seen, made + place)
            tokens.append(Token(chosen, float(logits[chosen] - logits.logsumexp(0))))
            if drafted[place : place + 1] != [chosen]:
                break
        return tokens
