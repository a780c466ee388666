"""Steps over pages of random keys and values, for tests: what lies where, and what each row sees."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gemcut.kernels.page_pool import PagePool, RowLayout
from gemcut.kernels.page_sight import PageSight

PAGE = 4


@dataclass(frozen=True)
class Sequence:
    """Rows at positions length - rows to length - 1; an image from `image` on to the end sees itself."""

    length: int
    rows: int
    image: int | None = None


@dataclass(frozen=True)
class Paged:
    """A step, and its keys and values as the definition wants them."""

    q: Tensor  # (N, H, D)
    pool: PagePool
    sight: PageSight
    keys: list[Tensor]  # (S, K, D) of each sequence
    values: list[Tensor]

    def by_definition(self) -> Tensor:
        """Row by row, head by head, in float64."""
        out = torch.empty(self.q.shape, dtype=torch.float64)
        share = self.q.shape[1] // self.pool.rows.shape[1]
        starts = self.sight.starts.tolist()
        for number, (k, v) in enumerate(zip(self.keys, self.values, strict=True)):
            for row in range(starts[number], starts[number + 1]):
                seen = slice(int(self.sight.lows[row]), int(self.sight.highs[row]))
                for head in range(self.q.shape[1]):
                    weights = (k[seen, head // share].double() @ self.q[row, head].double()).softmax(0)
                    out[row, head] = weights @ v[seen, head // share].double()
        return out.flatten(1)

    def cast(self, dtype: torch.dtype) -> "Paged":
        """The same numbers in another dtype, rounded before they were used."""
        pool = replace(self.pool, rows=self.pool.rows.to(dtype), weight=self.pool.weight.to(dtype))
        keys, values = ([x.to(dtype) for x in xs] for xs in (self.keys, self.values))
        return replace(self, q=self.q.to(dtype), pool=pool, keys=keys, values=values)


def paged(sequences: list[Sequence], window: int | None, heads: tuple[int, int], width: int) -> Paged:
    """A step in float64; pages lie scattered, and what nobody may read is NaN.

    heads: of queries, of keys.
    """
    generator = torch.Generator().manual_seed(len(sequences) + width)
    num_pages = 2 + sum(-(-s.length // PAGE) for s in sequences)
    order = iter((1 + torch.randperm(num_pages - 1, generator=generator)).tolist())
    weight = torch.ones(width, dtype=torch.float64)
    pool = PagePool.empty(RowLayout(width, None), num_pages * PAGE, heads[1], weight, int8=False)
    pool.rows.fill_(float("nan"))
    lows, highs, starts, tables, first, keys, values = [], [], [0], [], [], [], []
    for sequence in sequences:
        start = sequence.length - sequence.rows
        oldest = 0 if window is None else max(0, start - window + 1)
        begin = oldest // PAGE
        pages = [next(order) for _ in range(begin, -(-sequence.length // PAGE))]
        k, v = (torch.randn(sequence.length, heads[1], width, generator=generator).double() for _ in "kv")
        positions = torch.arange(oldest, sequence.length)
        slots = torch.tensor(pages)[positions // PAGE - begin] * PAGE + positions % PAGE
        pool.write(slots, k[oldest:], v[oldest:])
        for position in range(start, sequence.length):
            lows.append(0 if window is None else max(0, position - window + 1))
            inside = sequence.image is not None and position >= sequence.image
            highs.append(sequence.length if inside else position + 1)
        starts.append(starts[-1] + sequence.rows)
        tables.append(pages)
        first.append(begin * PAGE)
        keys.append(k)
        values.append(v)
    most = max(len(pages) for pages in tables)
    sight = PageSight(
        tables=torch.tensor([pages + [0] * (most - len(pages)) for pages in tables], dtype=torch.int32),
        first=torch.tensor(first, dtype=torch.int32),
        lows=torch.tensor(lows, dtype=torch.int32),
        highs=torch.tensor(highs, dtype=torch.int32),
        starts=torch.tensor(starts, dtype=torch.int32),
        page_tokens=PAGE,
        window=window,
    )
    q = torch.randn(starts[-1], heads[0], width, generator=generator).double() * width**-0.5
    return Paged(q, pool, sight, keys, values)
