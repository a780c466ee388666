"""The rows of a step as tensors: what the scheduler planned, for the model.

Letters: N rows of the step, T rows of a sequence, S keys that they see.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gemcut.config import AttentionKind
from gemcut.engine.pages import PageLayout
from gemcut.engine.progress import Progress, Rows
from gemcut.kernels.attention import PageSight, Piece
from gemcut.model.step import PagedCache, PageWriter, Step

KINDS: tuple[AttentionKind, ...] = ("full_attention", "sliding_attention")


@dataclass(frozen=True)
class Batch:
    """A step for the model.

    ids: (N,) int64.  step: its outputs are the rows whose logits are wanted, sequence by sequence.
    num_outputs: how many each sequence has.
    """

    ids: Tensor
    step: Step
    num_outputs: tuple[int, ...]


def make_batch(planned: Sequence[Rows], layout: PageLayout, cache: PagedCache, device: torch.device) -> Batch:
    """The tensors of the planned rows, in their order."""
    ids = [token for rows in planned for token in rows.ids]
    positions = [at for rows in planned for at in range(rows.start, rows.start + len(rows.ids))]
    slots = {
        kind: torch.tensor([slot for rows in planned for slot in rows.kinds[kind].slots], device=device)
        for kind in KINDS
    }
    outputs: list[int] = []
    starts, start = [], 0
    for rows in planned:
        starts.append(start)
        start += len(rows.ids)
        outputs += range(start - rows.num_outputs, start)
    sights = {
        kind: PageSight(
            tuple(_piece(r, at, kind, layout, device) for r, at in zip(planned, starts, strict=True))
        )
        for kind in KINDS
    }
    step = Step(
        positions=torch.tensor(positions, device=device),
        sights=sights,
        writer=PageWriter(cache, slots),
        outputs=torch.tensor(outputs, dtype=torch.long, device=device),
    )
    return Batch(torch.tensor(ids, device=device), step, tuple(rows.num_outputs for rows in planned))


def make_drafting_step(sequences: Sequence[Progress], layout: PageLayout, device: torch.device) -> Step:
    """A row for each sequence where its last token stands, which sees the keys before it, within the window.

    The token's own keys are not there yet: the model computes them with the next step.
    """
    sights = {}
    for kind in KINDS:
        pieces = []
        for row, progress in enumerate(sequences):
            table, end = progress.table, progress.computed
            full = kind == "full_attention"
            place = (table.full, 0) if full else (table.sliding, table.first_sliding)
            earliest = 0 if full else max(0, end - layout.window + 1)
            slots = _slots(*place, range(earliest, end), layout.page_tokens)
            pieces.append(Piece(row, row + 1, slots.to(device), mask=None, causal=False))
        sights[kind] = PageSight(tuple(pieces))
    positions = torch.tensor([progress.computed for progress in sequences], device=device)
    return Step(positions=positions, sights=sights, writer=None, outputs=None)


def _slots(pages: Sequence[int], first_page: int, positions: range, size: int) -> Tensor:
    """Where the keys of these positions lie, (S,); pages[0] begins at position first_page · size."""
    first = first_page * size
    numbers = torch.tensor(pages, dtype=torch.long)
    slots = (numbers[:, None] * size + torch.arange(size)).flatten()
    return slots[positions.start - first : positions.stop - first]


def _piece(rows: Rows, start: int, kind: AttentionKind, layout: PageLayout, device: torch.device) -> Piece:
    """One sequence's rows, the first of them row `start` of the step, over its keys of one kind of layer."""
    size, count = layout.page_tokens, len(rows.ids)
    place, end = rows.kinds[kind], rows.start + count
    earliest = 0 if kind == "full_attention" else max(0, rows.start - layout.window + 1)
    slots = _slots(place.pages, place.first_page, range(earliest, end), size)
    mask, causal = None, False
    if count > 1:
        causal = earliest == rows.start and not _whole_spans(rows)
        causal = causal and (kind == "full_attention" or count <= layout.window)
        mask = None if causal else _mask(rows, earliest, kind, layout).to(device)
    return Piece(start, start + count, slots.to(device), mask, causal)


def _mask(rows: Rows, earliest: int, kind: AttentionKind, layout: PageLayout) -> Tensor:
    """Which keys from position `earliest` on each row sees, (T, S) bool."""
    end = rows.start + len(rows.ids)
    query, key = torch.arange(rows.start, end)[:, None], torch.arange(earliest, end)
    seen = key <= query
    if kind == "full_attention":
        return seen
    near = query - key < layout.window
    for start, stop in _whole_spans(rows):
        inside = (start <= query) & (query < stop) & (start <= key) & (key < stop)
        seen = seen | inside
    return seen & near


def _whole_spans(rows: Rows) -> list[tuple[int, int]]:
    """The images among the rows that see themselves both ways, in sliding layers."""
    end = rows.start + len(rows.ids)
    media = rows.progress.request.media
    return [(s.start, s.end) for s in media if s.whole and s.start < end and s.end > rows.start]
