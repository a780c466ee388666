"""What nano's senses are trained on: which pictures, films and clips, how many of each, in batches."""

import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from gemcut.errors import BadTraining
from gemcut.train.batches import Batch, Shape, Texts, make_batch
from gemcut.train.examples import from_lists
from recipes.nano import moving, pictures, printed, speech
from recipes.nano.seen import (
    CELL_MARKS,
    PATCH_MARKS,
    Grid,
    Heard,
    Sample,
    Seen,
    clip_sample,
    cut,
    film_sample,
    listen,
    picture_sample,
    random_corner,
)
from recipes.nano.speech import SPOKEN, TONES
from recipes.nano.voices import Bank

STRIPS = (12, 16, 16, 24, 24)  # soft tokens of a strip of text
FULL_STRIPS = (12, 16, 24, 40, 70)  # where only the tower learns
SMALL = (9, 12, 16, 20, 24, 30)  # of a small picture of shapes
FRAMES = (9, 9, 16, 25)  # of a frame of a small film
MOVED = ("pixels", "positions", "marks", "patch_marks", "said", "order")  # tensors of a batch
LARGER, TONED = 2, 2  # of the shapes and the clips of a batch that looks
DRAWS_PER_ROW = 3  # that do not fit, then a batch is full


class Weights(NamedTuple):
    """How much soft tokens count in naming what is there, where the middle of a shape counts 1.

    blank: without such a middle, in kinds.  ground: in colours.
    """

    blank: float
    ground: float


@dataclass(frozen=True)
class SensesBatch:
    """Tensors of one training step.

    text: what the decoder learns; None where the towers learn alone.
    frozen: whether the towers stay as they are.
    pixels: (N, 768) float32.  positions: (N, 2) int64.  grids: of each image.
    marks: (S, CELL_MARKS) int64 and patch_marks: (N, PATCH_MARKS) int64, see `Seen`.
    mel: of each clip.  said: (A,) int64, see `Heard`.
    order: (S + A,) int64, the soft tokens of images, then of clips, in the order of their placeholders.
    """

    text: Batch | None
    pixels: Tensor
    positions: Tensor
    grids: tuple[Grid, ...]
    marks: Tensor
    patch_marks: Tensor
    mel: tuple[Tensor, ...]
    said: Tensor
    order: Tensor
    frozen: bool = False
    weights: Weights = Weights(blank=0.4, ground=0.1)

    @property
    def num_tokens(self) -> int:
        """Tokens that the decoder reads, or soft tokens where the towers learn alone."""
        return len(self.order) if self.text is None else self.text.num_tokens

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        return replace(
            self,
            text=None if self.text is None else self.text.to(device),
            mel=tuple(clip.to(device) for clip in self.mel),
            **{name: getattr(self, name).to(device) for name in MOVED},
        )


def media_batch(text: Batch | None, media: list[Seen | Heard]) -> SensesBatch:
    """The media in the order of their placeholders, as tensors."""
    images = [item for item in media if isinstance(item, Seen)]
    clips = [item for item in media if isinstance(item, Heard)]
    starts = {
        id(item): start for item, start in zip([*images, *clips], _starts([*images, *clips]), strict=True)
    }
    order = [np.arange(len(item.marks)) + starts[id(item)] for item in media]
    places = [
        np.stack(np.meshgrid(np.arange(c), np.arange(r)), -1).reshape(-1, 2) + np.array(image.corner)[::-1]
        for image in images
        for r, c in [image.grid]
    ]
    return SensesBatch(
        text=text,
        pixels=torch.from_numpy(_joined([image.pixels for image in images], np.zeros((0, 768), np.float32))),
        positions=torch.from_numpy(_joined(places, np.zeros((0, 2), np.int64)).astype(np.int64)),
        grids=tuple(image.grid for image in images),
        marks=torch.from_numpy(
            _joined([image.marks for image in images], np.zeros((0, CELL_MARKS), np.int64))
        ),
        patch_marks=torch.from_numpy(
            _joined([image.patch_marks for image in images], np.zeros((0, PATCH_MARKS), np.int64))
        ),
        mel=tuple(torch.from_numpy(clip.mel) for clip in clips),
        said=torch.from_numpy(_joined([clip.marks for clip in clips], np.zeros(0, np.int64))),
        order=torch.from_numpy(_joined(order, np.zeros(0, np.int64)).astype(np.int64)),
    )


def _starts(items: list[Seen | Heard]) -> list[int]:
    ends = np.cumsum([len(item.marks) for item in items])
    return [0, *ends[:-1].tolist()] if items else []


def _joined(arrays: list[np.ndarray], empty: np.ndarray) -> np.ndarray:
    return np.concatenate([empty, *arrays])


@dataclass(frozen=True)
class Drawer:
    """What examples of senses are drawn with."""

    tokenizer: Tokenizer
    bank: Bank

    def vocabulary(self, names: Sequence[str]) -> list[list[int]]:
        """The token ids of each name."""
        return [self.tokenizer.encode(name, add_special_tokens=False).ids for name in names]

    def strip(self, rng: random.Random, family: str) -> Sample:
        """Words or a number on a strip that may lie anywhere on a page."""
        draw = printed.words if family == "words" else printed.numbers
        picture = draw(rng, "train", rng.choice(STRIPS))
        return picture_sample(self.tokenizer, picture, random_corner(rng, picture.image))

    def picture(self, rng: random.Random, family: str, soft_tokens: int) -> Sample:
        """A picture of this size; 0 for a small one."""
        size = soft_tokens or rng.choice(SMALL)
        return picture_sample(self.tokenizer, pictures.FAMILIES[family].draw(rng, "train", size))

    def film(self, rng: random.Random, soft_tokens: int) -> Sample:
        """A film with frames of this size; 0 for small ones."""
        return film_sample(self.tokenizer, moving.draw(rng, "train", soft_tokens or rng.choice(FRAMES)))

    def clip(self, rng: random.Random, family: str) -> Sample:
        """Speech or tones."""
        if family in TONES:
            return clip_sample(self.tokenizer, TONES[family][0](rng, "train"))
        return clip_sample(self.tokenizer, speech.spoken(family, rng, "train", self.bank, "seen"))


Draw = Callable[[Drawer, random.Random], Sample]


def _strip(family: str) -> Draw:
    return lambda drawer, rng: drawer.strip(rng, family)


def _picture(family: str, soft_tokens: int) -> Draw:
    return lambda drawer, rng: drawer.picture(rng, family, soft_tokens)


def _film(soft_tokens: int) -> Draw:
    return lambda drawer, rng: drawer.film(rng, soft_tokens)


def _clip(family: str) -> Draw:
    return lambda drawer, rng: drawer.clip(rng, family)


def _shapes(soft_tokens: int, share: float) -> list[tuple[Draw, float]]:
    shares = {"color": 5, "kind": 5, "ground": 2, "count": 14, "place": 6, "relation": 8}
    whole = sum(shares.values())
    return [(_picture(family, soft_tokens), share * part / whole) for family, part in shares.items()]


SPEECH: list[tuple[Draw, float]] = [
    *((_clip(name), 15 * share) for name, (_, share) in SPOKEN.items()),
    *((_clip(name), 30 * share) for name, (_, share) in TONES.items()),
]
Mix = list[tuple[Draw, float]]  # shares of examples
SMALL_MIX: Mix = [
    *_shapes(0, 30),
    *_shapes(70, 4),
    (_picture("bar_chart", 70), 5),
    (_strip("words"), 26),
    (_strip("numbers"), 8),
    *SPEECH,
    (_film(0), 18),
]
LARGE_MIX: Mix = [
    *_shapes(0, 6),
    *_shapes(70, 26),
    (_picture("bar_chart", 70), 8),
    (_strip("words"), 10),
    (_strip("numbers"), 4),
    (_picture("words", 280), 8),
    (_picture("numbers", 280), 5),
    *SPEECH,
    (_film(0), 6),
    (_film(70), 9),
]


@dataclass(frozen=True)
class Looking:
    """Batches of media alone, for the towers to learn what is where.

    strips, pages, shapes, charts, clips: how many of each are in a batch.  Of the shapes, LARGER are of the
    smallest budget, the others are smaller.
    """

    drawer: Drawer
    weights: Weights
    strips: int
    pages: int
    shapes: int
    charts: int
    clips: int

    def check(self, shape: Shape) -> None:
        """Nothing of it depends on the shape of rows."""

    def batches(self, shape: Shape, seed: int, skip: int) -> Iterator[SensesBatch]:
        """Batches for ever, the same for the same seed."""
        number = skip
        while True:
            yield replace(media_batch(None, self._media(_rng(seed, number))), weights=self.weights)
            number += 1

    def _media(self, rng: random.Random) -> list[Seen | Heard]:
        media: list[Seen | Heard] = []
        for i in range(self.strips):
            draw = printed.numbers if i % 5 == 0 else printed.full_page
            picture = draw(rng, "train", rng.choice(STRIPS if i % 5 == 0 else FULL_STRIPS))
            media.append(cut(picture.image, picture.marks, random_corner(rng, picture.image)))
        for i in range(self.shapes):
            family = pictures.FAMILIES[rng.choice(pictures.SHAPE_FAMILIES)]
            picture = family.draw(rng, "train", 70 if i < LARGER else rng.choice(SMALL))
            media.append(cut(picture.image, picture.marks))
        write = rng.choice((printed.full_page, printed.full_page, printed.words))  # few words: blank paper
        drawn = [write(rng, "train", 280) for _ in range(self.pages)]
        drawn += [printed.bar_chart(rng, "train", 70) for _ in range(self.charts)]
        media += [cut(picture.image, picture.marks) for picture in drawn]
        for i in range(self.clips):
            if i < TONED:
                media.append(listen(rng.choice(list(TONES.values()))[0](rng, "train")))
            else:
                family_name = rng.choice(list(SPOKEN))
                media.append(listen(speech.spoken(family_name, rng, "train", self.drawer.bank, "seen")))
        return media

    def identity(self) -> list[Any]:
        """What a batch holds."""
        return [self.strips, self.pages, self.shapes, self.charts, self.clips, *self.weights]


@dataclass(frozen=True)
class Asking:
    """Batches of questions about media beside examples of text.

    texts: for the first `text_rows` rows of each batch, so that nothing is forgotten.
    frozen: whether the towers stay as they are, which makes an update quicker.
    """

    drawer: Drawer
    mix: Mix
    texts: Texts
    text_rows: int
    frozen: bool

    def check(self, shape: Shape) -> None:
        """Raises BadTraining where the texts cannot be used, or fill all rows."""
        self.texts.check(shape)
        if not 0 < self.text_rows < shape.groups:
            raise BadTraining(
                f"{self.text_rows} of {shape.groups} rows are text; give at least one to each of both"
            )

    def batches(self, shape: Shape, seed: int, skip: int) -> Iterator[SensesBatch]:
        """Batches for ever, the same for the same seed."""
        reading = self.texts.batches(replace(shape, groups=self.text_rows), seed, skip)
        for number, text in enumerate(reading, start=skip):
            yield self._batch(_rng(seed, number), text, replace(shape, groups=shape.groups - self.text_rows))

    def _batch(self, rng: random.Random, text: Batch, shape: Shape) -> SensesBatch:
        rows = self._rows(rng, shape)
        samples = [sample for row in rows for sample in row]
        ends = np.cumsum([0, *(len(row) for row in rows)])
        numbers = [
            list(range(first, end)) for first, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
        ]
        asked = make_batch(from_lists([(s.ids, s.mask) for s in samples]), numbers, shape)
        media = [item for sample in samples for item in (*sample.images, *sample.clips)]
        return replace(media_batch(joined(text, asked), media), frozen=self.frozen)

    def _rows(self, rng: random.Random, shape: Shape) -> list[list[Sample]]:
        """Rows of samples, each as full as some draws make it."""
        draws, shares = [draw for draw, _ in self.mix], [share for _, share in self.mix]
        rows: list[list[Sample]] = [[] for _ in range(shape.groups)]
        free = [(shape.tokens, shape.learnt)] * shape.groups
        misses = 0
        while misses < DRAWS_PER_ROW * shape.groups:
            sample = rng.choices(draws, shares)[0](self.drawer, rng)
            size, learnt = len(sample.ids), int(sample.mask.sum())
            fitting = [i for i, (room, places) in enumerate(free) if room >= size and places >= learnt]
            if not fitting:
                misses += 1
                continue
            at = fitting[0]
            rows[at].append(sample)
            free[at] = free[at][0] - size, free[at][1] - learnt
        return rows

    def identity(self) -> list[Any]:
        """How many kinds of examples, and how much text."""
        return [len(self.mix), self.text_rows, self.frozen, *self.texts.identity()]


def joined(one: Batch, other: Batch) -> Batch:
    """The rows of two batches of one shape, one behind the other."""
    rows, tokens = one.ids.shape
    behind = replace(other, outputs=other.outputs + rows * tokens)
    return Batch(**{n: torch.cat((getattr(one, n), getattr(behind, n))) for n in one.__dataclass_fields__})


def _rng(seed: int, number: int) -> random.Random:
    return random.Random(zlib.crc32(f"{seed}/senses/{number}".encode()))
