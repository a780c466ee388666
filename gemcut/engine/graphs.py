"""Decode steps recorded as CUDA graphs: one launch instead of the hundreds that take longer than their work.

A graph does the same again with the same memory, so a step is copied into tensors that stay where they are,
its rows filled up to the next of SIZES.  Rows of padding write to the scratch slot and see only that.

Letters: N rows of a step, C model width.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from gemcut.config import TextConfig
from gemcut.engine.page_tables import KINDS
from gemcut.engine.pages import SCRATCH, PageLayout
from gemcut.kernels.linear import multiplies_groups
from gemcut.kernels.page_sight import PageSight
from gemcut.kernels.paged_attention import triton_form
from gemcut.model.gemma4 import Gemma4
from gemcut.model.paged_cache import PagedCache, PageWriter
from gemcut.model.step import Embedded, Step

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # rows of a graph: fewer than half are padding

Run = Callable[[], Tensor]


def recorder_for(model: Gemma4, cache: PagedCache) -> Callable[[Run], Run] | None:
    """What records decode steps of the model; None where a step looks at what the device has computed.

    The forms of attention other than Triton's do, and experts that are multiplied one by one.
    """
    weight = model.model.language_model.norm.weight
    triton = triton_form() if weight.device.type == "cuda" else None
    if triton is None or not all(triton.serves(weight.dtype, pool) for pool in cache.pools.values()):
        return None
    experts_wait = model.config.text.experts is not None and not multiplies_groups(
        weight.device, weight.dtype
    )
    return None if experts_wait else cuda_recorder()


def cuda_recorder() -> Callable[[Run], Run]:
    """Makes of work on the device a recording that does it again; all recordings share their memory."""
    pool = torch.cuda.graph_pool_handle()

    def record(run: Run) -> Run:
        run()  # what happens at the first time only, such as compiling kernels, cannot be recorded
        graph = torch.cuda.CUDAGraph()
        # thread_local: what other threads do on the device meanwhile is not recorded and does no harm
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            result = run()

        def again() -> Tensor:
            graph.replay()
            return result

        return again

    return record


class StaticRows:
    """A decode step of up to `room` sequences, one row each, in tensors that stay where they are.

    like: a tensor of the rows' dtype, on their device.
    """

    def __init__(self, text: TextConfig, layout: PageLayout, room: int, like: Tensor) -> None:
        per_layer = None
        if text.hidden_size_per_layer_input:
            per_layer = like.new_zeros(room, text.num_hidden_layers, text.hidden_size_per_layer_input)
        self.embedded = Embedded(like.new_zeros(room, text.hidden_size), per_layer)
        self.positions = like.new_zeros(room, dtype=torch.int64)
        context = min(layout.most_tokens, text.max_position_embeddings)
        pages = {
            "full_attention": layout.pages_for(context),
            "sliding_attention": layout.sliding_peak(context, ()),
        }
        self.slots = {kind: like.new_zeros(room, dtype=torch.int64) for kind in KINDS}
        self.sights = {
            kind: PageSight(
                tables=like.new_zeros(room, pages[kind], dtype=torch.int32),
                first=like.new_zeros(room, dtype=torch.int32),
                lows=like.new_zeros(room, dtype=torch.int32),
                highs=like.new_zeros(room, dtype=torch.int32),
                starts=torch.arange(room + 1, dtype=torch.int32),
                page_tokens=layout.page_tokens,
                window=layout.window if kind == "sliding_attention" else None,
            )
            for kind in KINDS
        }
        self._held = room
        self.clear(0)

    def holds(self, step: Step) -> bool:
        """Whether the step is one row of each sequence, all of them wanted, and there is room for it."""
        if step.outputs is not None or len(step.positions) > len(self.positions):
            return False
        return all(
            isinstance(sight, PageSight)
            and sight.most_rows == 1
            and sight.tables.shape[1] <= self.sights[kind].tables.shape[1]
            for kind, sight in step.sights.items()
        )

    def fill(self, embedded: Embedded, step: Step) -> None:
        """Copies a step in, padding behind it."""
        assert isinstance(step.writer, PageWriter)
        rows = len(step.positions)
        self.positions[:rows] = step.positions
        self.embedded.hidden[:rows] = embedded.hidden
        if self.embedded.per_layer is not None and embedded.per_layer is not None:
            self.embedded.per_layer[:rows] = embedded.per_layer
        for kind, mine in self.sights.items():
            sight = step.sights[kind]
            assert isinstance(sight, PageSight)
            self.slots[kind][:rows] = step.writer.slots[kind]
            mine.tables[:rows, : sight.tables.shape[1]] = sight.tables
            mine.first[:rows] = sight.first
            mine.lows[:rows] = sight.lows
            mine.highs[:rows] = sight.highs
        self.clear(rows)

    def clear(self, start: int) -> None:
        """Makes padding of the rows from `start` on that were filled: they see and write the scratch slot."""
        for kind, mine in self.sights.items():
            gone = slice(start, self._held)
            self.slots[kind][gone] = SCRATCH
            mine.tables[gone, 0] = SCRATCH
            mine.first[gone] = 0
            mine.lows[gone] = 0
            mine.highs[gone] = 1
        self._held = start

    def rows(self, count: int, cache: PagedCache) -> tuple[Embedded, Step]:
        """The first rows as a step over the cache, which later fillings change."""
        per_layer = self.embedded.per_layer
        sights = {
            kind: replace(
                sight,
                tables=sight.tables[:count],
                first=sight.first[:count],
                lows=sight.lows[:count],
                highs=sight.highs[:count],
                starts=sight.starts[: count + 1],
            )
            for kind, sight in self.sights.items()
        }
        step = Step(
            positions=self.positions[:count],
            sights=sights,
            writer=PageWriter(cache, {kind: slots[:count] for kind, slots in self.slots.items()}),
            outputs=None,
        )
        return Embedded(self.embedded.hidden[:count], None if per_layer is None else per_layer[:count]), step


class DecodeGraphs:
    """Runs decode steps from recordings, one for each of SIZES, made when it is first needed.

    record: makes of work a recording that does it again, on the tensors that it was made with.  Steps for
    which it has too little memory run without.
    """

    def __init__(
        self, model: Gemma4, cache: PagedCache, layout: PageLayout, record: Callable[[Run], Run]
    ) -> None:
        self._model = model
        self._cache = cache
        self._static = StaticRows(
            model.config.text, layout, SIZES[-1], model.model.language_model.norm.weight
        )
        self._record = record
        self._recorded: dict[int, Run | None] = {}

    def run(self, embedded: Embedded, step: Step) -> Tensor | None:
        """Hidden states (N, C) of a decode step; None where it is another kind of step, or too large."""
        if not self._static.holds(step):
            return None
        count = len(step.positions)
        size = next(size for size in SIZES if size >= count)
        if size not in self._recorded:
            self._recorded[size] = self._recording(size)
        run = self._recorded[size]
        if run is None:
            return None
        self._static.fill(embedded, step)
        return run()[:count].clone()  # the next run writes to the same place

    def _recording(self, size: int) -> Run | None:
        """Of a step with so many rows; None where there is too little memory for one."""
        self._static.clear(0)  # recording runs the step: it must not write where keys are
        rows = self._static.rows(size, self._cache)
        try:
            return self._record(lambda: self._model(*rows))
        except torch.OutOfMemoryError:
            return None
