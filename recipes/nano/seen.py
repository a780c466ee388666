"""What is seen or heard as a training example: patches or mel features, and the token ids around them.

tests/recipes/test_nano_seen.py holds the ids against those that `Gemma.prompt` makes of the same media.
"""

import random
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer

from gemcut.media.audio import log_mel, soft_tokens_of_mel
from gemcut.media.video import timestamp
from gemcut.prompt.tokenizer import MEDIA_TOKENS
from recipes.nano.drawing import CELL, COLORS, GROUND, KINDS, PATCH, POOLING, Mark, Picture
from recipes.nano.moving import Film
from recipes.nano.speech import HEARD, Clip
from recipes.nano.voices import DIGITS, VOCABULARY

Grid = tuple[int, int]
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
SAID = (*VOCABULARY, *DIGITS, *HEARD)
BLANK = "▁"  # in the vocabulary
FIRST = len(LETTERS) + 1  # in the place of the letter before
IGNORED = -100  # a target that counts nothing
BINS = 24  # places along a side of a picture
CELL_MARKS, PATCH_MARKS = POOLING + 6, 4  # how many marks a soft token has, and a patch
PAGE = (16, 24)  # rows and columns of soft tokens on which a strip of text may stand
SECONDS = 0.04  # of a soft token of sound
HALF, TAIL_S = 0.5, 0.08  # a word is known from its half on, and a little after its end


@dataclass(frozen=True, eq=False)
class Seen:
    """An image as the vision tower takes it.

    pixels: (N, 768) float32 of 0 to 1.  grid: rows and columns of patches.  corner: row and column of its
    first patch on the page that it is a part of.
    marks: (soft tokens, CELL_MARKS) int64: the letter in each column of patches; the kind and the colour of
    the shape whose middle lies there, or the ground's colour where no shape hides it; the letter before the
    first one there, FIRST where a word begins; the value of the bar that the letter names; where that shape,
    or else the soft token, lies across and down the picture, 1 to BINS; 0 for none, IGNORED where nothing is
    known.
    patch_marks: (N, PATCH_MARKS) int64: the letter, the kind and the colour of the shape that each patch is
    a part of, and the value of the bar that the letter names.
    """

    pixels: NDArray[np.float32]
    grid: Grid
    corner: Grid
    marks: NDArray[np.int64]
    patch_marks: NDArray[np.int64]

    @property
    def soft_tokens(self) -> int:
        """How many the tower makes of it."""
        return len(self.marks)


@dataclass(frozen=True, eq=False)
class Heard:
    """A clip as the audio tower takes it.

    mel: (T, 128) float32.  marks: (soft tokens,) int64, the word that has just been said, as `Seen.marks`.
    """

    mel: NDArray[np.float32]
    marks: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sample:
    """A question about something seen or heard, with its answer.

    ids: (n,) int64.  mask: (n,) uint8, 1 where the model learns to say this token.
    """

    ids: NDArray[np.int64]
    mask: NDArray[np.uint8]
    images: tuple[Seen, ...]
    clips: tuple[Heard, ...]


def cut(image: Image.Image, marks: tuple[Mark, ...], corner: Grid = (0, 0)) -> Seen:
    """The patches of an RGB image whose sides are whole soft tokens."""
    rows, columns = image.height // PATCH, image.width // PATCH
    values = np.asarray(image, np.uint8).reshape(rows, PATCH, columns, PATCH, 3).swapaxes(1, 2)
    pixels = values.reshape(rows * columns, -1).astype(np.float32) * np.float32(1 / 255)
    cells = mark_cells(marks, (rows // POOLING, columns // POOLING))
    return Seen(pixels, (rows, columns), corner, cells, mark_patches(marks, (rows, columns)))


def mark_patches(marks: tuple[Mark, ...], grid: Grid) -> NDArray[np.int64]:
    """The marks of a picture by patch, see `Seen.patch_marks`; grid: rows and columns of patches."""
    patches = np.zeros((*grid, PATCH_MARKS), np.int64)
    patches[..., -1] = IGNORED
    for mark in marks:
        rows = _covered(mark.y, mark.height, grid[0], PATCH)
        columns = _covered(mark.x, mark.width, grid[1], PATCH)
        patches[rows, columns] = (*_numbers(mark.name), IGNORED if mark.value is None else mark.value)
    return patches.reshape(-1, PATCH_MARKS)


def apart(before: Mark, mark: Mark) -> bool:
    """Whether a word or a line begins between the two letters."""
    return mark.x - mark.width / 2 > before.x + before.width / 2 + 1 or mark.x < before.x


def _covered(middle: float, length: float, count: int, size: int) -> slice:
    """The patches whose middles lie within the length, and at least the one in which its own middle lies.

    size: of a patch, or a soft token, in pixels.
    """
    at = min(int(middle // size), count - 1)
    first, last = (int((middle + sign * length / 2) / size + 0.5) for sign in (-1, 1))
    return slice(max(min(first, at), 0), min(max(last, at + 1), count))


def _numbers(name: str) -> tuple[int, int, int]:
    """The numbers of a letter, of a kind and of a colour; 0 for none."""
    if len(name) == 1:
        return LETTERS.index(name) + 1, 0, 0
    color, kind = name.split()
    return 0, 0 if kind == GROUND else KINDS.index(kind) + 1, COLORS.index(color) + 1


def mark_cells(marks: tuple[Mark, ...], grid: Grid) -> NDArray[np.int64]:
    """The marks of a picture by soft token, see `Seen.marks`; grid: rows and columns of soft tokens."""
    cells = np.zeros((*grid, CELL_MARKS), np.int64)
    before, value, place = POOLING + 2, POOLING + 3, slice(POOLING + 4, None)
    cells[..., before:] = IGNORED
    last = None
    for mark in marks:
        if mark.name.endswith(GROUND):
            cells[..., POOLING + 1] = _numbers(mark.name)[-1]
            rows, columns = np.mgrid[: grid[0], : grid[1]] + 0.5
            cells[..., place] = np.stack((_bins(columns, grid[1]), _bins(rows, grid[0])), -1)
            continue
        row, column = min(int(mark.y // CELL), grid[0] - 1), min(int(mark.x // CELL), grid[1] - 1)
        cell = cells[row, column]
        letter, *shape = _numbers(mark.name)
        if letter:
            if not cell[:POOLING].any():
                cell[before] = FIRST if last is None or apart(last, mark) else _numbers(last.name)[0]
            cell[min(int(mark.x % CELL) // PATCH, POOLING - 1)] = letter
            cell[value] = IGNORED if mark.value is None else mark.value
        else:
            rows = _covered(mark.y, mark.height, grid[0], CELL)
            columns = _covered(mark.x, mark.width, grid[1], CELL)
            cells[rows, columns, POOLING + 1] = IGNORED  # neither ground nor the shape's middle
            cell[POOLING:before] = shape
            cell[place] = _bins(mark.x / CELL, grid[1]), _bins(mark.y / CELL, grid[0])
        last = mark
    return cells.reshape(-1, CELL_MARKS)


def _bins(at: Any, length: int) -> NDArray[np.int64]:
    """Places along a side that is so long, as 1 to BINS."""
    return np.clip(np.ceil(at / length * BINS), 1, BINS).astype(np.int64)


def listen(clip: Clip) -> Heard:
    """The mel features of a clip, and which word has just been said at each soft token."""
    mel = log_mel(clip.samples)
    marks = np.zeros(soft_tokens_of_mel(len(mel)), np.int64)
    at = (np.arange(len(marks)) + 0.5) * SECONDS
    for word, begin, end in clip.marks:
        known = begin + HALF * (end - begin)
        marks[(at >= begin) & (at < known)] = IGNORED
        marks[(at >= known) & (at < end + TAIL_S)] = SAID.index(word) + 1
    return Heard(mel, marks)


def picture_sample(tokenizer: Tokenizer, picture: Picture, corner: Grid = (0, 0)) -> Sample:
    """A picture as an example."""
    seen = cut(picture.image, picture.marks, corner)
    asked, answer = _asked(tokenizer, image_text("image", seen), picture.question), picture.answer
    printed = all(len(mark.name) == 1 for mark in picture.marks)
    said = spelled(tokenizer, answer) if printed else _answered(tokenizer, answer)
    sample = _sample(asked, said, (seen,), ())
    for question, reply in picture.more:
        turn = _sample(_turn(tokenizer, f"\n<|turn>user\n{question}"), _answered(tokenizer, reply), (), ())
        sample = replace(
            sample,
            ids=np.concatenate((sample.ids, turn.ids)),
            mask=np.concatenate((sample.mask, turn.mask)),
        )
    return sample


def spelled(tokenizer: Tokenizer, text: str) -> list[int]:
    """The text letter by letter: what is read is said as it is seen, and no piece has to be put together."""
    ids = [tokenizer.token_to_id(letter if letter != " " else BLANK) for letter in (*text,)]
    assert None not in ids, f"nano's vocabulary lacks a letter of {text!r}"
    return [*ids, tokenizer.token_to_id("<turn|>")]


def film_sample(tokenizer: Tokenizer, film: Film) -> Sample:
    """A film as an example: its frames, with the time of each."""
    frames = tuple(cut(frame, marks) for frame, marks in zip(film.frames, film.marks, strict=True))
    text = " ".join(
        f"{timestamp(i * film.seconds_per_frame)} {image_text('video', frame)}"
        for i, frame in enumerate(frames)
    )
    return _sample(_asked(tokenizer, text, film.question), _answered(tokenizer, film.answer), frames, ())


def clip_sample(tokenizer: Tokenizer, clip: Clip) -> Sample:
    """A clip as an example."""
    heard = listen(clip)
    soft = MEDIA_TOKENS["audio"] * len(heard.marks)
    text = MEDIA_TOKENS["begin_audio"] + soft + MEDIA_TOKENS["end_audio"]
    return _sample(_asked(tokenizer, text, clip.question), _answered(tokenizer, clip.answer), (), (heard,))


def image_text(kind: str, seen: Seen) -> str:
    """The placeholders of an image, or of a frame."""
    return MEDIA_TOKENS["begin_image"] + MEDIA_TOKENS[kind] * seen.soft_tokens + MEDIA_TOKENS["end_image"]


def random_corner(rng: random.Random, image: Image.Image) -> Grid:
    """Where on a page an image may stand: row and column of its first patch."""
    rows, columns = image.height // CELL, image.width // CELL
    free = max(PAGE[0] - rows, 0), max(PAGE[1] - columns, 0)
    return rng.randint(0, free[0]) * POOLING, rng.randint(0, free[1]) * POOLING


def _asked(tokenizer: Tokenizer, media: str, question: str) -> list[int]:
    return _turn(tokenizer, f"<bos><|turn>user\n{media}{question.strip()}")


def _turn(tokenizer: Tokenizer, opening: str) -> list[int]:
    """The ids of a user's turn, up to where the model answers."""
    ids: list[int] = tokenizer.encode(f"{opening}<turn|>\n<|turn>model\n", add_special_tokens=False).ids
    return ids


def _answered(tokenizer: Tokenizer, answer: str) -> list[int]:
    ids: list[int] = tokenizer.encode(f"{answer.strip()}<turn|>", add_special_tokens=False).ids
    return ids


def _sample(asked: list[int], said: list[int], images: tuple[Seen, ...], clips: tuple[Heard, ...]) -> Sample:
    mask = np.zeros(len(asked) + len(said), np.uint8)
    mask[len(asked) :] = 1
    return Sample(np.array([*asked, *said], np.int64), mask, images, clips)
