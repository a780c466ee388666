"""Attention of a step's rows over pools of pages.

Forms: native code on a CPU; Triton on CUDA for the few rows that a sequence has in decode; plain PyTorch for
the many of a prompt there, for float64, and where there is neither.

Letters: T rows of a sequence, S keys they see, H query heads, K key/value heads, G = H/K query heads of a key
head, D head width, N rows of a step.
"""

import functools
from bisect import bisect_left, bisect_right
from types import ModuleType

import torch
from torch import Tensor

from gemcut.kernels.attention import Sight, attend
from gemcut.kernels.native import native_for_pages
from gemcut.kernels.norm import at_least_float32
from gemcut.kernels.page_pool import PagePool
from gemcut.kernels.page_sight import FEW_ROWS, PageSight, SequenceSight

NEAR_KEYS = 128  # in a block where rows differ in what they see: more waste arithmetic, fewer cost calls
FAR_KEYS = 512  # in a block that every row sees


def attend_pages(q: Tensor, pool: PagePool, sight: PageSight) -> Tensor:
    """Softmax of q·k (scale 1) over the visible keys, times v: (N, H, D) -> (N, H·D).

    The softmax runs in float32 at least.
    """
    q = pool.layout.queries(q, pool.weight)
    out = torch.empty_like(q)
    most = _attend_up_to(q, pool, sight, out)
    if sight.most_rows > most:
        for sequence in sight.sequences:
            if sequence.end - sequence.start > most:
                rows = slice(sequence.start, sequence.end)
                out[rows] = _attend_sequence(q[rows], pool, sequence)
    return pool.layout.results(out).flatten(1)


def _attend_up_to(q: Tensor, pool: PagePool, sight: PageSight, out: Tensor) -> int:
    """Fills the rows of `out` whose sequences have up to so many rows as there is a form for; 0: none."""
    if (native := native_for_pages(q, pool)) is not None:
        native.attend_pages(q, pool, sight, out)
        return sight.most_rows
    if q.device.type == "cuda" and (triton := triton_form()) is not None and triton.serves(q.dtype, pool):
        triton.attend_few_rows(q, pool, sight, out)
        return FEW_ROWS
    return 0


@functools.cache
def triton_form() -> ModuleType | None:
    """The kernels of paged_triton.py, None without triton, which comes with torch where there is CUDA."""
    try:
        from gemcut.kernels import paged_triton
    except ImportError:
        return None
    return paged_triton


def _attend_sequence(q: Tensor, pool: PagePool, sight: SequenceSight) -> Tensor:
    """Rows of one sequence, (T, H, D) -> (T, H, D)."""
    if q.device.type != "cpu":
        return _attend_masked(q, pool, sight)
    wide = at_least_float32(q.dtype)
    k, v = pool.read(sight.slots, wide)
    return _attend_blocks(q.to(wide), k, v, sight).to(q.dtype)


def _attend_masked(q: Tensor, pool: PagePool, sight: SequenceSight) -> Tensor:
    """With PyTorch's fused kernels, which want a mask."""
    k, v = pool.read(sight.slots, q.dtype)
    rows = slice(sight.start, sight.end)
    keys = torch.arange(sight.lows[0], sight.highs[-1], device=q.device)
    seen = (sight.step.lows[rows, None] <= keys) & (keys < sight.step.highs[rows, None])  # (T, S)
    return attend(q, k, v, Sight(groups=1, mask=seen[None], causal=False)).view_as(q)


def _attend_blocks(q: Tensor, k: Tensor, v: Tensor, sight: SequenceSight) -> Tensor:
    """Keys block by block, each block for those rows only that see some of it.

    Heads that share a key head are rows of one product, so keys and values are not copied for each of them.
    q: (T, H, D).  k, v: (S, K, D).  Returns (T, H, D).
    """
    num_rows, heads, width = q.shape
    kv_heads = k.shape[1]
    share = heads // kv_heads
    q = q.view(num_rows, kv_heads, share, width).transpose(0, 1).flatten(1, 2)  # (T, H, D) -> (K, T·G, D)
    k, v = k.permute(1, 2, 0), v.transpose(0, 1)  # (K, D, S), (K, S, D)
    sums = torch.zeros_like(q)
    most = q.new_full((kv_heads, num_rows * share, 1), torch.finfo(q.dtype).min)
    total = torch.zeros_like(most)
    for begin, end in _blocks(sight):
        rows = _rows_that_see(sight, begin, end)
        mine = slice(rows.start * share, rows.stop * share)
        keys = slice(begin - sight.lows[0], end - sight.lows[0])
        scores = q[:, mine] @ k[..., keys]  # (K, T·G, D) x (K, D, S) -> (K, T·G, S)
        _hide(scores.view(kv_heads, -1, share, end - begin), sight, rows, begin)
        larger = torch.maximum(most[:, mine], scores.amax(-1, keepdim=True))
        before = (most[:, mine] - larger).exp_()
        weights = scores.sub_(larger).exp_()
        most[:, mine] = larger
        total[:, mine] = total[:, mine] * before + weights.sum(-1, keepdim=True)
        sums[:, mine].mul_(before).baddbmm_(weights, v[:, keys])
    out = (sums / total).view(kv_heads, num_rows, share, width)
    return out.transpose(0, 1).reshape(num_rows, heads, width)


def _blocks(sight: SequenceSight) -> list[tuple[int, int]]:
    """Positions in blocks: small ones where some row does not see all, large ones where every row does."""
    lowest, highest = sight.lows[0], sight.highs[-1]
    far = sight.lows[-1], sight.highs[0]
    if far[1] - far[0] < NEAR_KEYS:
        far = highest, highest
    blocks = []
    for start, stop, size in ((lowest, far[0], NEAR_KEYS), (*far, FAR_KEYS), (far[1], highest, NEAR_KEYS)):
        blocks += [(begin, min(stop, begin + size)) for begin in range(start, stop, size)]
    return blocks


def _rows_that_see(sight: SequenceSight, begin: int, end: int) -> slice:
    """The rows that see some of the positions begin to end - 1: neighbours, as lows and highs never fall."""
    return slice(bisect_right(sight.highs, begin), bisect_left(sight.lows, end))


def _hide(scores: Tensor, sight: SequenceSight, rows: slice, begin: int) -> None:
    """Takes away, in place, what rows do not see of a block that begins there; scores: (K, T, G, S)."""
    end = begin + scores.shape[-1]
    if sight.lows[rows.stop - 1] <= begin and sight.highs[rows.start] >= end:
        return
    keys = torch.arange(begin, end, dtype=torch.int32)
    lows, highs = (x[sight.start : sight.end][rows, None] for x in (sight.step.lows, sight.step.highs))
    hidden = (keys < lows) | (keys >= highs)  # (T, S)
    scores.masked_fill_(hidden[:, None], torch.finfo(scores.dtype).min)
