"""Planned rows to logits: the model, its pages, and the soft tokens of the media that prompts hold.

Letters: N rows of a step, M rows whose logits are wanted, S soft tokens, C model width, V vocabulary.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gemcut.engine.batch import BatchBuilder
from gemcut.engine.pages import PageLayout
from gemcut.engine.progress import Rows
from gemcut.model.gemma4 import Gemma4
from gemcut.model.paged_cache import PagedCache
from gemcut.model.step import Embedded


class Runner:
    """Runs the steps that a scheduler plans.

    int8: keep keys and values in int8.
    soft: of each request by its id, the soft tokens (S, C) of all its media, in order.
    """

    def __init__(self, model: Gemma4, layout: PageLayout, int8: bool = False) -> None:
        self.model = model
        self.layout = layout
        self.device = model.model.language_model.norm.weight.device
        self.cache = PagedCache(model.model.language_model.kv_owners(), layout.slots, int8)
        self._builder = BatchBuilder(layout, self.cache, self.device)

    @torch.inference_mode()
    def run(self, planned: Sequence[Rows], soft: Mapping[int, Tensor]) -> list[Tensor]:
        """Logits of the rows of each sequence that are wanted, (M, V) each, in the order of `planned`."""
        batch = self._builder.build(planned)
        embedded = self._embedded(batch.ids, planned, soft)
        hidden = self.model(embedded, batch.step)
        if not sum(batch.num_outputs):
            return [hidden.new_empty(0, self.model.config.text.vocab_size) for _ in planned]
        return list(torch.split(self.model.logits(hidden), list(batch.num_outputs)))

    def _embedded(self, ids: Tensor, planned: Sequence[Rows], soft: Mapping[int, Tensor]) -> Embedded:
        parts = [
            self._soft_of(rows, soft[rows.progress.request.id])
            for rows in planned
            if rows.progress.request.media
        ]
        here = torch.cat(parts) if parts else None
        if here is None or not len(here):
            return self.model.embed(ids)
        return self.model.embed_with_soft_tokens(ids, here)

    @staticmethod
    def _soft_of(rows: Rows, soft: Tensor) -> Tensor:
        """The soft tokens that stand among these rows; soft: of the whole prompt."""
        start, end = rows.start, rows.start + len(rows.ids)
        before = here = 0
        for span in rows.progress.request.media:
            before += max(0, min(span.end, start) - span.start)
            here += max(0, min(span.end, end) - max(span.start, start))
        return soft[before : before + here]
