"""Planned rows to their results: the model, its pages, and the soft tokens of the media that prompts hold.

Letters: M rows whose results are wanted, S soft tokens, C model width, V vocabulary.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from gemcut.engine.batch import BatchBuilder
from gemcut.engine.graphs import DecodeGraphs, recorder_for
from gemcut.engine.pages import PageLayout
from gemcut.engine.progress import Rows
from gemcut.engine.results import Results
from gemcut.engine.tiles import in_tiles, tile_rows, tiles
from gemcut.model.gemma4 import Gemma4
from gemcut.model.paged_cache import PagedCache
from gemcut.model.step import Embedded, Step


class Runner:
    """Runs the steps that a scheduler plans.

    int8: keep keys and values in int8.
    batch_invariant: give each row the same numbers to the last bit, whatever runs beside it; slower.
    soft: of each request that has media, by its id, their soft tokens (S, C), in order.
    """

    def __init__(self, model: Gemma4, layout: PageLayout, int8: bool, batch_invariant: bool = False) -> None:
        self.model = model
        self.device = model.model.language_model.norm.weight.device
        self.cache = PagedCache(model.model.language_model.kv_owners(), layout.slots, int8)
        self.builder = BatchBuilder(layout, self.cache, self.device)
        self._tile = tile_rows(model.config.text) if batch_invariant else None
        record = None if batch_invariant else recorder_for(model, self.cache)
        self._graphs = None if record is None else DecodeGraphs(model, self.cache, layout, record)

    @torch.inference_mode()
    def run(self, planned: Sequence[Rows], soft: Mapping[int, Tensor]) -> Results:
        """Hidden states of the rows that are wanted, (M, C) of each sequence, in the order of `planned`."""
        batch = self.builder.build(planned)
        placeholders, here = self._soft(planned, len(batch.ids), soft)
        if self._tile is None:
            hidden = self._hidden(self._embedded(batch.ids, placeholders, here), batch.step)
            return Results(hidden, batch.num_outputs)
        parts = []
        for tile in tiles(batch, planned, self._tile):
            rows = slice(tile.start, tile.end)
            missing = len(tile.step.positions) - (tile.end - tile.start)
            marks = pad(placeholders[rows], (0, missing))
            before = int(placeholders[: tile.start].sum())
            part = None if here is None else here[before : before + int(marks.sum())]
            made = self.model(self._embedded(pad(batch.ids[rows], (0, missing)), marks, part), tile.step)
            parts.append(made[tile.wanted] if len(made) else made)
        return Results(torch.cat(parts), batch.num_outputs)

    def _hidden(self, embedded: Embedded, step: Step) -> Tensor:
        """Of the rows that are wanted, (M, C); from a recording where there is one of such a step."""
        recorded = None if self._graphs is None else self._graphs.run(embedded, step)
        if recorded is not None:
            return recorded
        hidden: Tensor = self.model(embedded, step)
        return hidden

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """(M, C) -> (M, V)."""
        if self._tile is None:
            return self.model.logits(hidden)
        made = [self.model.logits(part) for part in in_tiles(hidden, self._tile)]
        return torch.cat(made)[: len(hidden)]

    def _soft(
        self, planned: Sequence[Rows], count: int, soft: Mapping[int, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """Which of the step's `count` rows are soft tokens, (N,) bool on the CPU; those (S, C), if any."""
        parts: list[Tensor] = []
        placeholders = torch.zeros(count, dtype=torch.bool)
        behind = 0  # rows of the sequences before
        for rows in planned if soft else ():
            for first, begin, end in _soft_rows(rows):
                parts.append(soft[rows.progress.request.id][first : first + end - begin])
                placeholders[behind + begin : behind + end] = True
            behind += len(rows.ids)
        return placeholders, torch.cat(parts) if parts else None

    def _embedded(self, ids: Tensor, placeholders: Tensor, soft: Tensor | None) -> Embedded:
        """Rows of these ids; where placeholders are among them, the soft tokens stand instead."""
        if soft is None or not len(soft):
            return self.model.embed(ids)
        text = self.model.model.language_model
        return text.embed_with_soft_tokens(ids, placeholders.to(self.device), soft)


def _soft_rows(rows: Rows) -> Iterator[tuple[int, int, int]]:
    """Soft tokens among these rows: the place of the first among the prompt's, and rows begin to end."""
    passed = 0
    for span in rows.progress.request.media:
        begin, end = max(span.start, rows.start), min(span.end, rows.start + len(rows.ids))
        if begin < end:
            yield passed + begin - span.start, begin - rows.start, end - rows.start
        passed += span.end - span.start
