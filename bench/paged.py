"""Decode of many sequences over pages: whole steps, launched kernel by kernel and recorded, and attention.

bench/gpu.py runs it.  Keys and values are random and their pages scattered; each step is the same again.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gemcut.config import TextConfig
from gemcut.engine.graphs import DecodeGraphs, StaticRows
from gemcut.engine.pages import PageLayout
from gemcut.kernels import paged_attention
from gemcut.kernels.page_pool import PagePool
from gemcut.kernels.page_sight import PageSight
from gemcut.model.gemma4 import Gemma4
from gemcut.model.layer_plan import LayerSpec, plan_layers
from gemcut.model.paged_cache import PagedCache, row_layout
from gemcut.model.step import Embedded, Step

PAGE_TOKENS = 16
CALLS = 20  # of attention in a recording, so that the launch of the recording does not count

Seconds = Callable[[Callable[[], object]], float]  # how long a run takes
Recorder = Callable[[Callable[[], Tensor]], Callable[[], Tensor]]


@dataclass(frozen=True)
class Decode:
    """Seconds of a step of `batch` sequences; recorded_s is None where the steps cannot be recorded."""

    batch: int
    eager_s: float
    recorded_s: float | None
    floor_s: float

    def line(self, name: str) -> str:
        """What is printed of it."""
        best = self.eager_s if self.recorded_s is None else self.recorded_s
        recorded = "" if self.recorded_s is None else f", recorded {self.batch / self.recorded_s:9.1f}"
        return (
            f"{name:4} batch {self.batch:4}: {self.batch / self.eager_s:9.1f} tok/s{recorded},"
            f" {100 * self.floor_s / best:.0f} % of the floor's {self.batch / self.floor_s:.0f}"
        )


@dataclass(frozen=True)
class Attended:
    """Seconds of attention in one layer; plain_s is that of the plain form."""

    layer: str
    batch: int
    taken_s: float
    plain_s: float
    num_bytes: int

    def line(self, name: str, rate: float) -> str:
        """What is printed of it; rate: bytes a second of a copy."""
        return (
            f"{name:4} {self.layer} at batch {self.batch:4}: {1e6 * self.taken_s:8.1f} µs,"
            f" {100 * self.num_bytes / rate / self.taken_s:.0f} % of a copy's rate,"
            f" {self.plain_s / self.taken_s:.1f}x the plain form"
        )


class Bench:
    """A decode step of `batch` sequences that have `context` tokens each."""

    def __init__(self, model: Gemma4, batch: int, context: int) -> None:
        self.model = model
        self.batch = batch
        text, like = model.config.text, model.model.language_model.norm.weight
        self.layout = _layout(text, batch, context)
        self.cache = PagedCache(model.model.language_model.kv_owners(), self.layout.slots, int8=False)
        for pool in self.cache.pools.values():
            pool.rows.normal_()
        rows = StaticRows(text, self.layout, batch, like)
        rows.positions.fill_(context - 1)
        for kind, sight in rows.sights.items():
            seen = context if sight.window is None else min(context, sight.window)
            first = (context - seen) // PAGE_TOKENS
            held = self.layout.pages_for(context) - first
            pages = 1 + torch.randperm(batch * held, device=like.device)
            sight.tables[:, :held] = pages.view(batch, held)
            sight.first.fill_(first * PAGE_TOKENS)
            sight.lows.fill_(context - seen)
            sight.highs.fill_(context)
            last = sight.tables[:, held - 1].long()
            rows.slots[kind].copy_(last * PAGE_TOKENS + (context - 1) % PAGE_TOKENS)
        self.step = rows.rows(batch, self.cache)[1]

    def measure(self, record: Recorder | None, seconds: Seconds, floor_s: float) -> Decode:
        """Steps from the last tokens' ids to the next ones; record: what makes recordings, None for none."""
        graphs = None if record is None else DecodeGraphs(self.model, self.cache, self.layout, record)
        ids = torch.arange(self.batch, device=self.step.positions.device)

        def next_ids(run: Callable[[Embedded, Step], Tensor | None]) -> Tensor:
            hidden = run(self.model.embed(ids), self.step)
            assert hidden is not None, "the step has room in the recordings"
            return self.model.logits(hidden).argmax(-1)

        with torch.inference_mode():
            next_ids(self.model)  # warm
            eager_s = seconds(lambda: next_ids(self.model))
            if graphs is None:
                return Decode(self.batch, eager_s, None, floor_s)
            next_ids(graphs.run)
            return Decode(self.batch, eager_s, seconds(lambda: next_ids(graphs.run)), floor_s)

    def attention(self, record: Recorder, seconds: Seconds) -> list[Attended]:
        """Attention alone, of the first layer of each kind that owns keys and values."""
        found = {spec.kind: spec for spec in reversed(plan_layers(self.model.config.text)) if spec.owns_kv}
        with torch.inference_mode():
            return [self._attended(spec, record, seconds) for spec in found.values()]

    def _attended(self, spec: LayerSpec, record: Recorder, seconds: Seconds) -> Attended:
        pool, sight = self.cache.pools[spec.index], self.step.sights[spec.kind]
        assert isinstance(sight, PageSight)
        shape = self.batch, spec.num_heads, spec.head_dim
        q = torch.randn(shape, dtype=pool.weight.dtype, device=pool.weight.device) * spec.head_dim**-0.5
        again = record(lambda: [paged_attention.attend_pages(q, pool, sight) for _ in range(CALLS)][-1])
        seen = int(sight.highs[0] - sight.lows[0])
        form = "" if row_layout(spec).rotated is None else ", compact"
        return Attended(
            layer=f"{spec.kind.replace('_', ' ')}{form}, {seen} keys",
            batch=self.batch,
            taken_s=seconds(again) / CALLS,
            plain_s=seconds(lambda: _plain(q, pool, sight)),
            num_bytes=self.batch * seen * read_bytes(spec),
        )


def read_bytes(spec: LayerSpec) -> int:
    """What attention in a layer reads of one token, in bfloat16."""
    return 2 * spec.num_kv_heads * row_layout(spec).numbers


def step_bytes(text: TextConfig, context: int) -> int:
    """What the attention of one row reads in all layers, those too that share keys and values."""
    seen = {"full_attention": context, "sliding_attention": min(context, text.sliding_window)}
    return sum(seen[spec.kind] * read_bytes(spec) for spec in plan_layers(text))


def _plain(q: Tensor, pool: PagePool, sight: PageSight) -> None:
    for sequence in replace(sight).sequences:
        paged_attention._attend_sequence(q[sequence.start : sequence.end], pool, sequence)


def _layout(text: TextConfig, batch: int, context: int) -> PageLayout:
    """Just the pages that are needed, and a scratch page."""
    layout = PageLayout(
        page_tokens=PAGE_TOKENS, window=text.sliding_window, full_pages=2, sliding_pages=10**6
    )
    held = layout.pages_for(context)
    return replace(layout, full_pages=1 + batch * held, sliding_pages=2 + batch * (layout.window_pages + 1))
