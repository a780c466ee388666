"""Attention of few rows a sequence over pages, in Triton: for CUDA.

A program takes the query heads that share a key head, over a part of what one row sees, so a key and its
value are read once: 640 numbers of a compact row, where K and V apart have 1,024.  Where there are several
parts, a second kernel puts their results together.

Letters: N rows of a step, M of them that are attended here, B sequences, P pages of the longest table, H
query heads, K key/value heads, D head width, R rotated dimensions, E numbers of a head's row in the pool, A
parts of it that have a scale each in int8, S parts of what a row sees.
"""

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

from gemcut.kernels.page_pool import PagePool
from gemcut.kernels.page_sight import FEW_ROWS, PageSight

LEAST_PART = 128  # keys: reading them takes much longer than writing the part's result and merging it
PROGRAMS_A_PROCESSOR = 2  # one computes while the other waits for memory
LEAST_ROWS = 16  # of a matrix that tl.dot multiplies, and columns
PART_TILE, WIDTH_TILE = 32, 128  # of the merging kernel: parts and numbers at a time
SHARED_BYTES = 96 * 1024  # of a program: an RTX 4090 has 99 KiB, and an H200 room for two programs
TILES = (  # keys at a time; stages of Triton's pipeline; blocks that it holds: one comes, one is worked on
    (32, 5, 2),
    (16, 5, 2),
    (16, 2, 1),
)
INT8_TILE = 16, 5  # keys and stages where rows are int8: widened, they lie in shared memory a second time
WARPS, INT8_WARPS = 4, 8  # of a program: with fewer its registers would not suffice
LOWEST = tl.constexpr(-1e30)  # below every score, and finite: the difference of two is 0, not NaN
LOG2_E = tl.constexpr(1.4426950408889634)


def serves(dtype: torch.dtype, pool: PagePool) -> bool:
    """Whether the kernels are made for such a pool, and queries of this dtype."""
    width = pool.layout.width
    known = dtype in (torch.bfloat16, torch.float16, torch.float32) and pool.rows.dtype in (dtype, torch.int8)
    return known and width >= LEAST_ROWS and width & (width - 1) == 0


def attend_few_rows(q: Tensor, pool: PagePool, sight: PageSight, out: Tensor) -> None:
    """Fills the rows of `out` (N, H, D) whose sequences have few of them; q: (N, H, D).

    All sums are float32.  A row that sees nothing gets zeros.  The host looks at nothing that the device's
    tensors hold, so a CUDA graph can record it.
    """
    assert q.is_contiguous()
    assert out.is_contiguous()
    rows, sequences = sight.short
    if not len(rows):
        return
    heads, width = q.shape[1:]
    kv_heads, rotated = pool.rows.shape[1], pool.layout.rotated
    group = heads // kv_heads
    group_rows = max(LEAST_ROWS, triton.next_power_of_2(group))
    own = width if rotated is None else rotated  # the numbers of a value that its key does not hold
    loaded = max(LEAST_ROWS, triton.next_power_of_2(own))
    tile = _tile(group_rows * width, width + loaded, q.element_size())
    block, stages = tile if pool.scales is None else INT8_TILE
    parts = _num_parts(len(rows) * kv_heads, sight, q.device)
    result = out if parts == 1 else q.new_empty(len(rows), heads, parts, width, dtype=torch.float32)
    top, total = q.new_empty(2, len(rows), heads, parts, dtype=torch.float32)
    with torch.cuda.device_of(q):
        _attend_part[(len(rows), kv_heads, parts)](
            *(q, pool.rows, pool.scales, rows, sequences),
            *(sight.tables, sight.first, sight.lows, sight.highs),
            *(result, top, total, sight.tables.stride(0)),
            LEAST_PART=LEAST_PART,
            FIXED_PART=sight.part_tokens,
            PAGE_TOKENS=sight.page_tokens,
            GROUP=group,
            GROUP_ROWS=group_rows,
            WIDTH=width,
            NUMBERS=pool.layout.numbers,
            SCALES=0 if pool.scales is None else pool.scales.shape[2],
            OWN=own,
            LOADED=loaded,
            BLOCK=block,
            WHOLE=parts == 1,
            num_warps=WARPS if pool.scales is None else INT8_WARPS,
            num_stages=stages,
        )
        if parts > 1:
            width_tile = min(width, WIDTH_TILE)
            _merge_parts[(len(rows), heads, width // width_tile)](
                *(result, top, total, rows, sight.lows, sight.highs, out, parts),
                LEAST_PART=LEAST_PART,
                FIXED_PART=sight.part_tokens,
                WIDTH=width,
                PART_TILE=PART_TILE,
                WIDTH_TILE=width_tile,
            )


def _tile(query_numbers: int, row_numbers: int, num_bytes: int) -> tuple[int, int]:
    """Keys at a time, and stages of the pipeline: the most that fit into shared memory beside the queries."""
    for block, stages, held in TILES:
        if (query_numbers + held * block * row_numbers) * num_bytes <= SHARED_BYTES:
            return block, stages
    return TILES[-1][:2]


def _num_parts(programs: int, sight: PageSight, device: torch.device) -> int:
    """Into how many parts each row's keys are cut, `programs` being those without any cut."""
    most_keys = sight.tables.shape[1] * sight.page_tokens
    if sight.window is not None:
        most_keys = min(most_keys, sight.window + FEW_ROWS)  # a row of an image sees the image's rest too
    if sight.part_tokens is not None:
        return -(-most_keys // sight.part_tokens)
    wanted = -(-PROGRAMS_A_PROCESSOR * _processors(device) // programs)
    return max(1, min(wanted, -(-most_keys // LEAST_PART)))


@functools.cache
def _processors(device: torch.device) -> int:
    """How many programs a device can run beside each other; Triton's interpreter runs one after another."""
    if device.type != "cuda":
        return 1
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


@triton.jit
def _part_length(keys, num_parts, LEAST_PART: tl.constexpr, FIXED_PART: tl.constexpr):
    """How many of a row's keys are a part; where it is not fixed, the parts are as equal as blocks allow."""
    if FIXED_PART is not None:
        return FIXED_PART
    return tl.maximum(tl.cdiv(tl.cdiv(keys, num_parts), 32) * 32, LEAST_PART)


@triton.jit
def _scaled(k, v, scales_at, seen, turned, SCALES: tl.constexpr, DTYPE: tl.constexpr):
    """Keys and values of int8 rows; of three scales, the first is that of a key's turned numbers."""
    of_k = tl.load(scales_at + SCALES - 2, mask=seen, other=0.0).to(tl.float32)[:, None]
    of_v = tl.load(scales_at + SCALES - 1, mask=seen, other=0.0).to(tl.float32)[:, None]
    if SCALES == 3:
        of_k = tl.where(turned, tl.load(scales_at, mask=seen, other=0.0).to(tl.float32)[:, None], of_k)
    return (k.to(tl.float32) * of_k).to(DTYPE), (v.to(tl.float32) * of_v).to(DTYPE)


@triton.jit(do_not_specialize=["table_stride"])
def _attend_part(
    q_at,  # (N, H, D)
    pool_at,  # (slots, K, E)
    scales_at,  # (slots, K, A) where rows are int8, else None
    rows_at,  # (M,) which row a program takes
    sequences_at,  # (M,) and of which sequence it is
    tables_at,  # (B, P)
    first_at,  # (B,) position of each table's first slot
    lows_at,  # (N,) a row sees positions low to high - 1
    highs_at,  # (N,)
    result_at,  # (M, H, S, D) sums of weighted values; where S is 1, (N, H, D), divided by the weights' sum
    top_at,  # (M, H, S) the highest score, to the base 2
    total_at,  # (M, H, S) the sum of the weights
    table_stride,
    LEAST_PART: tl.constexpr,
    FIXED_PART: tl.constexpr,
    PAGE_TOKENS: tl.constexpr,
    GROUP: tl.constexpr,  # H / K
    GROUP_ROWS: tl.constexpr,  # the same, filled up for tl.dot
    WIDTH: tl.constexpr,
    NUMBERS: tl.constexpr,
    SCALES: tl.constexpr,  # A, the parts of a row that have a scale each, else 0
    OWN: tl.constexpr,  # R where rows are compact: K's last D - R numbers are V's first; else D
    LOADED: tl.constexpr,  # the same, filled up to a power of two
    BLOCK: tl.constexpr,
    WHOLE: tl.constexpr,  # whether S is 1
):
    number, kv_head, part = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    kv_heads, num_parts = tl.num_programs(1), tl.num_programs(2)
    row, sequence = tl.load(rows_at + number), tl.load(sequences_at + number)
    first, low, high = tl.load(first_at + sequence), tl.load(lows_at + row), tl.load(highs_at + row)
    length = _part_length(high - low, num_parts, LEAST_PART, FIXED_PART)
    start = low + part * length
    end = tl.minimum(high, start + length)

    in_group, column, own = tl.arange(0, GROUP_ROWS), tl.arange(0, WIDTH), tl.arange(0, LOADED)
    head = (row * kv_heads + kv_head) * GROUP + in_group
    real = in_group < GROUP
    q = tl.load(q_at + head[:, None] * WIDTH + column, mask=real[:, None], other=0.0)
    top = tl.full([GROUP_ROWS], LOWEST, tl.float32)
    total = tl.zeros([GROUP_ROWS], tl.float32)
    from_k = tl.zeros([GROUP_ROWS, WIDTH], tl.float32)
    from_own = tl.zeros([GROUP_ROWS, LOADED], tl.float32)
    for begin in range(start, end, BLOCK):
        place = begin - first + tl.arange(0, BLOCK)  # of each key in the table
        seen = place < end - first
        page = tl.load(tables_at + sequence * table_stride + place // PAGE_TOKENS, mask=seen, other=0)
        slot = (page * PAGE_TOKENS + place % PAGE_TOKENS).to(tl.int64) * kv_heads + kv_head
        key_at = pool_at + slot[:, None] * NUMBERS
        own_at = key_at + (NUMBERS - OWN)
        k = tl.load(key_at + column, mask=seen[:, None], other=0.0)  # (BLOCK, D)
        v = tl.load(own_at + own, mask=seen[:, None] & (own < OWN), other=0.0)  # (BLOCK, OWN), V's last
        if SCALES > 0:
            k, v = _scaled(k, v, scales_at + slot * SCALES, seen, column < OWN, SCALES, q.dtype)
        scores = tl.dot(q, tl.trans(k), input_precision="ieee") * LOG2_E  # (GROUP_ROWS, BLOCK)
        scores = tl.where(seen, scores, LOWEST)
        higher = tl.maximum(top, tl.max(scores, 1))
        shrink, weights = tl.exp2(top - higher), tl.exp2(scores - higher[:, None])
        total = total * shrink + tl.sum(weights, 1)
        weights = weights.to(k.dtype)
        from_own = from_own * shrink[:, None] + tl.dot(weights, v, input_precision="ieee")
        if OWN < WIDTH:  # R sums too many, but 384 is no power of two, and the memory is what takes time
            from_k = from_k * shrink[:, None] + tl.dot(weights, k, input_precision="ieee")
        top = higher

    at, written = head, real
    if WHOLE:
        divisor = tl.where(total > 0, total, 1.0)[:, None]  # a row that sees nothing gets zeros
        from_own, from_k = from_own / divisor, from_k / divisor
    else:
        at = ((number * kv_heads + kv_head) * GROUP + in_group) * num_parts + part
        written = real & (start < end)
        tl.store(top_at + at, top, mask=written)
        tl.store(total_at + at, total, mask=written)
    to = result_at + at.to(tl.int64)[:, None] * WIDTH
    tl.store(to + (WIDTH - OWN) + own, from_own, mask=written[:, None] & (own < OWN))
    if OWN < WIDTH:
        tl.store(to - OWN + column, from_k, mask=written[:, None] & (column >= OWN))


@triton.jit(do_not_specialize=["num_parts"])
def _merge_parts(
    result_at,  # (M, H, S, D), as the other kernel left it; parts without keys were not written
    top_at,  # (M, H, S)
    total_at,  # (M, H, S)
    rows_at,  # (M,)
    lows_at,  # (N,)
    highs_at,  # (N,)
    out_at,  # (N, H, D)
    num_parts,
    LEAST_PART: tl.constexpr,
    FIXED_PART: tl.constexpr,
    WIDTH: tl.constexpr,
    PART_TILE: tl.constexpr,
    WIDTH_TILE: tl.constexpr,
):
    row = tl.load(rows_at + tl.program_id(0))
    head = tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
    column = tl.program_id(2) * WIDTH_TILE + tl.arange(0, WIDTH_TILE)
    keys = tl.load(highs_at + row) - tl.load(lows_at + row)
    filled = tl.cdiv(keys, _part_length(keys, num_parts, LEAST_PART, FIXED_PART))
    top = tl.full([1], LOWEST, tl.float32)
    total = tl.zeros([1], tl.float32)
    out = tl.zeros([WIDTH_TILE], tl.float32)
    for begin in range(0, filled, PART_TILE):
        part = begin + tl.arange(0, PART_TILE)
        at, exists = head * num_parts + part, part < filled
        tops = tl.load(top_at + at, mask=exists, other=LOWEST)
        totals = tl.load(total_at + at, mask=exists, other=0.0)
        values_at = result_at + at.to(tl.int64)[:, None] * WIDTH + column
        values = tl.load(values_at, mask=exists[:, None], other=0.0)
        higher = tl.maximum(top, tl.max(tops, 0))
        shrink, weights = tl.exp2(top - higher), tl.exp2(tops - higher)
        total = total * shrink + tl.sum(weights * totals, 0)
        out = out * shrink + tl.sum(weights[:, None] * values, 0)
        top = higher
    to = out_at + (row * tl.num_programs(1) + tl.program_id(1)) * WIDTH
    tl.store(to + column, out / tl.where(total > 0, total, 1.0))
