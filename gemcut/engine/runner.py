"""Planned rows to their results: the model, its pages, and the soft tokens of the media that prompts hold.

Letters: M rows whose results are wanted, S soft tokens, C model width, V vocabulary.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class SoftRows:
    """Which of some rows are soft tokens, (N,) bool on the CPU, and those (S, C)."""

    placeholders: Tensor
    tokens: Tensor

    def part(self, start: int, end: int, missing: int) -> "SoftRows":
        """Those of rows start to end - 1, behind which `missing` others are put."""
        before, here = self.placeholders[:start], self.placeholders[start:end]
        tokens = self.tokens[int(before.sum()) :][: int(here.sum())]
        return SoftRows(pad(here, (0, missing)), tokens)


class Runner:
    """Runs the steps that a scheduler plans; the engine's thread does so in inference mode.

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

    def run(self, planned: Sequence[Rows], soft: Mapping[int, Tensor]) -> Results:
        """Hidden states of the rows that are wanted, (M, C) of each sequence, in the order of `planned`."""
        batch = self.builder.build(planned)
        found = self._soft(planned, soft)
        if self._tile is None:
            return Results(self._hidden(self._embedded(batch.ids, found), batch.step), batch.num_outputs)
        parts = []
        for tile in tiles(batch, planned, self._tile):
            missing = len(tile.step.positions) - (tile.end - tile.start)
            here = None if found is None else found.part(tile.start, tile.end, missing)
            ids = pad(batch.ids[tile.start : tile.end], (0, missing))
            made = self.model(self._embedded(ids, here), tile.step)
            parts.append(made[tile.wanted] if len(made) else made)
        return Results(torch.cat(parts), batch.num_outputs)

    def _hidden(self, embedded: Embedded, step: Step) -> Tensor:
        """Of the rows that are wanted, (M, C); from a recording where there is one of such a step."""
        recorded = None if self._graphs is None else self._graphs.run(embedded, step)
        if recorded is not None:
            return recorded
        hidden: Tensor = self.model(embedded, step)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """(M, C) -> (M, V)."""
        if self._tile is None:
            return self.model.logits(hidden)
        made = [self.model.logits(part) for part in in_tiles(hidden, self._tile)]
        return torch.cat(made)[: len(hidden)]

    def _soft(self, planned: Sequence[Rows], soft: Mapping[int, Tensor]) -> SoftRows | None:
        """The soft tokens among the planned rows, if there are any."""
        parts, runs = [], []
        behind = 0  # rows of the sequences before
        for rows in planned if soft else ():
            for first, begin, end in _soft_rows(rows):
                parts.append(soft[rows.progress.request.id][first : first + end - begin])
                runs.append(slice(behind + begin, behind + end))
            behind += len(rows.ids)
        if not parts:
            return None
        placeholders = torch.zeros(behind, dtype=torch.bool)
        for run in runs:
            placeholders[run] = True
        return SoftRows(placeholders, torch.cat(parts))

    def _embedded(self, ids: Tensor, soft: SoftRows | None) -> Embedded:
        """Rows of these ids; where placeholders are among them, the soft tokens stand instead."""
        if soft is None:
            return self.model.embed(ids)
        text = self.model.model.language_model
        return text.embed_with_soft_tokens(ids, soft.placeholders.to(self.device), soft.tokens)


def _soft_rows(rows: Rows) -> Iterator[tuple[int, int, int]]:
    """Soft tokens among these rows: the place of the first among the prompt's, and rows begin to end."""
    passed = 0
    for span in rows.progress.request.media:
        begin, end = max(span.start, rows.start), min(span.end, rows.start + len(rows.ids))
        if begin < end:
            yield passed + begin - span.start, begin - rows.start, end - rows.start
        passed += span.end - span.start
