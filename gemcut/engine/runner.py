"""Planned rows to their results: the model, its pages, and the soft tokens of the media that prompts hold.

Letters: M rows whose results are wanted, S soft tokens, C model width, V vocabulary.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gemcut.engine.batch import KINDS, make_batch
from gemcut.engine.pages import PageLayout
from gemcut.engine.progress import Rows
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import Embedded, PagedCache


class Runner:
    """Runs the steps that a scheduler plans.

    soft: of each request by its id, the soft tokens (S, C) of all its media, in order.
    """

    def __init__(self, model: Gemma4, layout: PageLayout) -> None:
        self.model = model
        self.layout = layout
        self.device = model.model.language_model.norm.weight.device
        pages = {"full_attention": layout.full_pages, "sliding_attention": layout.sliding_pages}
        self.cache = PagedCache({kind: pages[kind] * layout.page_tokens for kind in KINDS})

    @torch.inference_mode()
    def run(self, planned: Sequence[Rows], soft: Mapping[int, Tensor]) -> list[Tensor]:
        """Hidden states of the rows that are wanted, (M, C) of each sequence, in the order of `planned`."""
        batch = make_batch(planned, self.layout, self.cache, self.device)
        hidden = self.model(self._embedded(batch.ids, planned, soft), batch.step)
        return list(torch.split(hidden, list(batch.num_outputs)))

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """(M, C) -> (M, V)."""
        return self.model.logits(hidden)

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
