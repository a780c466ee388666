"""Planned rows to their results: the model, its pages, and the soft tokens of the media that prompts hold.

Letters: M rows whose results are wanted, S soft tokens, C model width, V vocabulary.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from gemcut.engine.batch import BatchBuilder
from gemcut.engine.graphs import DecodeGraphs, recorder_for
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

    def __init__(self, model: Gemma4, layout: PageLayout, int8: bool) -> None:
        self.model = model
        self.device = model.model.language_model.norm.weight.device
        self.cache = PagedCache(model.model.language_model.kv_owners(), layout.slots, int8)
        self._builder = BatchBuilder(layout, self.cache, self.device)
        record = recorder_for(model, self.cache)
        self._graphs = None if record is None else DecodeGraphs(model, self.cache, layout, record)

    @torch.inference_mode()
    def run(self, planned: Sequence[Rows], soft: Mapping[int, Tensor]) -> list[Tensor]:
        """Hidden states of the rows that are wanted, (M, C) of each sequence, in the order of `planned`."""
        batch = self._builder.build(planned)
        embedded = self._embedded(batch.ids, planned, soft)
        hidden = None if self._graphs is None else self._graphs.run(embedded, batch.step)
        if hidden is None:
            hidden = self.model(embedded, batch.step)
        return list(torch.split(hidden, list(batch.num_outputs)))

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """(M, C) -> (M, V)."""
        return self.model.logits(hidden)

    def _embedded(self, ids: Tensor, planned: Sequence[Rows], soft: Mapping[int, Tensor]) -> Embedded:
        """Rows of the step's ids; where spans of media are among them, the soft tokens stand instead."""
        parts: list[Tensor] = []
        placeholders = torch.zeros(len(ids), dtype=torch.bool)
        behind = 0  # rows of the sequences before
        for rows in planned:
            for first, begin, end in _soft_rows(rows):
                parts.append(soft[rows.progress.request.id][first : first + end - begin])
                placeholders[behind + begin : behind + end] = True
            behind += len(rows.ids)
        if not parts:
            return self.model.embed(ids)
        text = self.model.model.language_model
        return text.embed_with_soft_tokens(ids, placeholders.to(self.device), torch.cat(parts))


def _soft_rows(rows: Rows) -> Iterator[tuple[int, int, int]]:
    """Soft tokens among these rows: the place of the first among the prompt's, and rows begin to end."""
    passed = 0
    for span in rows.progress.request.media:
        begin, end = max(span.start, rows.start), min(span.end, rows.start + len(rows.ids))
        if begin < end:
            yield passed + begin - span.start, begin - rows.start, end - rows.start
        passed += span.end - span.start
