"""What the decoder takes: `Embedded`, the packed rows of a step, and `Step`, where those rows stand.

A row is one token of one sequence.  Letters: N rows, C model width, L layers, P per-layer width, W window,
T new tokens of a sequence, S keys seen, K key/value heads, D head width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from gemcut.config import AttentionKind, TextConfig
from gemcut.kernels.attention import Sight
from gemcut.kernels.page_pool import PagePool
from gemcut.kernels.page_sight import PageSight
from gemcut.model.layer_plan import LayerSpec

KeysValues = tuple[Tensor, Tensor]  # each (S, K, D)
Seen = KeysValues | PagePool  # what a step's rows may see of a layer


@dataclass(frozen=True)
class Embedded:
    """Rows ready for the decoder, made while the token ids are still known.

    hidden: (N, C).  per_layer: (N, L, P), None for models without per-layer embeddings.
    """

    hidden: Tensor
    per_layer: Tensor | None

    def take(self, rows: Tensor) -> "Embedded":
        """Only these rows, (M,)."""
        return Embedded(self.hidden[rows], None if self.per_layer is None else self.per_layer[rows])


@dataclass(frozen=True)
class Slots:
    """Where a step's keys and values go in a cache, and which earlier ones its rows see.

    rows: (M,) the rows that are kept.  slots: (M,) where.
    past: (S',) slots of the earlier keys, oldest first, to put before the fresh ones; None where the rows
    see exactly slots 0 to `seen` once the fresh keys are written.
    """

    rows: Tensor
    slots: Tensor
    past: Tensor | None
    seen: int


class PlainCache:
    """Keys and values of one sequence: of all tokens in full-attention layers, of the last W in sliding ones.

    capacity: the most tokens it holds.  Layers that reuse another layer's K and V have no part in it.
    """

    def __init__(self, config: TextConfig, capacity: int, device: torch.device) -> None:
        self.config = config
        self.capacity = capacity
        self.device = device
        self.length = 0
        self._layers: dict[int, KeysValues] = {}

    def slots_of(self, kind: AttentionKind) -> int:
        """How many tokens a layer of this kind keeps."""
        return self.capacity if kind == "full_attention" else min(self.capacity, self.config.sliding_window)

    @property
    def cache_bytes(self) -> int:
        """Memory held."""
        return sum(2 * keys.numel() * keys.element_size() for keys, _ in self._layers.values())

    def extend(self, spec: LayerSpec, fresh: KeysValues, slots: Slots) -> KeysValues:
        """Write a layer's fresh K and V, (T, K, D) each; returns what the step's rows see, (S, K, D) each."""
        fresh_k, fresh_v = fresh
        kept_k, kept_v = self._reserve(spec, fresh_k, slots.seen)
        if slots.past is not None:  # read before the ring turns
            seen = (torch.cat((kept_k[slots.past], fresh_k)), torch.cat((kept_v[slots.past], fresh_v)))
        kept_k[slots.slots] = fresh_k[slots.rows]
        kept_v[slots.slots] = fresh_v[slots.rows]
        return (kept_k[: slots.seen], kept_v[: slots.seen]) if slots.past is None else seen

    def _reserve(self, spec: LayerSpec, fresh: Tensor, seen: int) -> KeysValues:
        """A layer's buffers with room for `seen` tokens; they grow by doubling, up to what it may keep."""
        empty = fresh.new_empty(0, *fresh.shape[1:])
        kept_k, kept_v = self._layers.get(spec.index, (empty, empty))
        if (held := len(kept_k)) < seen:
            room = fresh.new_empty(
                max(seen, min(2 * held, self.slots_of(spec.kind))) - held, *fresh.shape[1:]
            )
            kept_k, kept_v = torch.cat((kept_k, room)), torch.cat((kept_v, room))
            self._layers[spec.index] = (kept_k, kept_v)
        return kept_k, kept_v


class Writer(Protocol):
    """Takes a step's fresh keys and values to those of earlier steps."""

    def extend(self, spec: LayerSpec, fresh: KeysValues) -> Seen:
        """Writes a layer's fresh K and V, (N, K, D) each; returns what the step's sights look at."""
        ...


@dataclass(frozen=True)
class PlainWriter:
    """Writes into the cache of one sequence."""

    cache: PlainCache
    slots: Mapping[AttentionKind, Slots]

    def extend(self, spec: LayerSpec, fresh: KeysValues) -> KeysValues:
        """See `PlainCache.extend`."""
        return self.cache.extend(spec, fresh, self.slots[spec.kind])


@dataclass(frozen=True)
class Step:
    """Where the rows of a step stand.

    positions: (N,) int64, of each row in its sequence.
    sights: what the rows see, for each kind of layer.
    writer: what keeps the fresh keys and values beside earlier ones; None in training and scoring.
    outputs: (M,) int64, the rows whose result is wanted, as many of each group, in order; None for all.
    """

    positions: Tensor
    sights: Mapping[AttentionKind, Sight | PageSight]
    writer: Writer | None
    outputs: Tensor | None

    def take(self, rows: Tensor) -> "Step":
        """The step seen by only these rows, which write no keys."""
        total = len(self.positions)
        sights = {kind: sight.take(rows, total) for kind, sight in self.sights.items()}
        return replace(self, positions=self.positions[rows], sights=sights, outputs=None)

    def extend(self, spec: LayerSpec, fresh: KeysValues) -> Seen:
        """The K and V that this layer's rows see: the fresh ones, behind what the cache holds."""
        return fresh if self.writer is None else self.writer.extend(spec, fresh)


def image_blocks(in_image: Tensor) -> Tensor:
    """Numbers the runs of True in (N,) bool; -1 elsewhere.  Returns (N,) int64."""
    begins = in_image & ~in_image.roll(1)
    begins[:1] = in_image[:1]
    return torch.where(in_image, begins.cumsum(0) - 1, -1)


def same_image(rows: Tensor, keys: Tensor) -> Tensor:
    """Which rows and keys lie in one image: blocks (..., T) x (..., S) -> (..., T, S) bool."""
    return (rows[..., :, None] == keys[..., None, :]) & (rows[..., :, None] >= 0)


def visible(sequences: Tensor, positions: Tensor, window: int) -> Tensor:
    """Which rows see which: earlier or equal positions of their sequence, at most `window` with their own.

    sequences, positions: (..., T) int64.  Returns (..., T, T) bool.
    """
    distance = positions[..., :, None] - positions[..., None, :]
    seen = (sequences[..., :, None] == sequences[..., None, :]) & (distance >= 0)
    return seen & (distance < window)


def packed_step(
    sequences: Tensor, positions: Tensor, config: TextConfig, images: Tensor | None = None
) -> Step:
    """A step without a cache over G groups of T rows, each group packed with whole sequences: for training.

    sequences: (G, T) int64, equal for the rows of one sequence.  positions: (G, T) int64.
    images: (G, T) int64, see `Gemma4.image_blocks`.
    """
    groups = len(sequences)
    windows: dict[AttentionKind, int] = {
        "full_attention": sequences.shape[1],
        "sliding_attention": config.sliding_window,
    }
    sights = {
        kind: Sight(groups=groups, mask=visible(sequences, positions, window), causal=False, band=window)
        for kind, window in windows.items()
    }
    sliding = sights["sliding_attention"]
    if images is not None and sliding.mask is not None:
        near = (positions[..., :, None] - positions[..., None, :]) < config.sliding_window
        alike = sequences[..., :, None] == sequences[..., None, :]
        mask = sliding.mask | (same_image(images, images) & alike & near)
        sights["sliding_attention"] = replace(sliding, mask=mask, band=None)
    return Step(positions=positions.reshape(-1), sights=sights, writer=None, outputs=None)


def whole_sequences(
    lengths: Sequence[int], config: TextConfig, device: torch.device, images: Tensor | None = None
) -> Step:
    """A step without a cache over packed sequences of any lengths: for scoring and parity.

    images: (N,) int64, see `Gemma4.image_blocks`.
    """
    positions = torch.cat([torch.arange(length, device=device) for length in lengths])
    if len(lengths) > 1 and (images is not None or len(set(lengths)) > 1):
        sequences = torch.repeat_interleave(torch.tensor(lengths, device=device))
        return packed_step(sequences[None], positions[None], config, None if images is None else images[None])
    groups, length = len(lengths), lengths[0]
    causal = Sight(groups=groups, mask=None, causal=True)
    sights: dict[AttentionKind, Sight] = {"full_attention": causal, "sliding_attention": causal}
    if length > config.sliding_window or images is not None:
        sights["sliding_attention"] = replace(
            _sight(positions[:length], 0, 0, config.sliding_window, images), groups=groups
        )
    return Step(positions=positions, sights=sights, writer=None, outputs=None)


def next_step(cache: PlainCache, num_rows: int, outputs: Tensor | None, images: Tensor | None = None) -> Step:
    """The step that appends `num_rows` tokens to the cache's sequence, which counts them as held.

    images: (num_rows,) int64, see `Gemma4.image_blocks`; an image lies in one step as a whole.
    """
    start, cache.length = cache.length, cache.length + num_rows
    assert cache.length <= cache.capacity, "the first keys would be overwritten"
    positions = torch.arange(start, start + num_rows, device=cache.device)
    sights: dict[AttentionKind, Sight] = {}
    slots: dict[AttentionKind, Slots] = {}
    for kind in sorted(set(cache.config.layer_types)):
        window = cache.slots_of(kind)
        rows = torch.arange(max(0, num_rows - window), num_rows, device=cache.device)
        past = None
        num_past = start
        if kind == "sliding_attention" and num_rows > 1:
            num_past = min(start, window - 1)
            past = torch.arange(start - num_past, start, device=cache.device) % window
        seen = min(start + num_rows, window)
        slots[kind] = Slots(rows=rows, slots=(start + rows) % window, past=past, seen=seen)
        blocks = images if kind == "sliding_attention" else None
        sights[kind] = _sight(positions, start - num_past, start, window, blocks)
    return Step(positions=positions, sights=sights, writer=PlainWriter(cache, slots), outputs=outputs)


def _sight(positions: Tensor, oldest: int, start: int, window: int, images: Tensor | None) -> Sight:
    """What new rows, the first at `start`, see of the keys from `oldest` on, within the window."""
    num_rows = len(positions)
    if num_rows == 1:
        return Sight(groups=1, mask=None, causal=False)
    if oldest == start and num_rows <= window and images is None:
        return Sight(groups=1, mask=None, causal=True)
    keys = torch.arange(oldest, start + num_rows, device=positions.device)
    last, first = positions[:, None], positions[:, None] - window + 1
    mask = (first <= keys) & (keys <= last)  # (T, S)
    if images is None:
        return Sight(groups=1, mask=mask[None], causal=False, band=window)
    among = torch.cat((images.new_full((start - oldest,), -1), images))  # of the keys
    mask |= same_image(images, among) & (first <= keys)
    return Sight(groups=1, mask=mask[None], causal=False)
