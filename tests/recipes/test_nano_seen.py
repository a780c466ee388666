import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from gemcut.api import Gemma
from gemcut.model.vision import patch_positions
from gemcut.prompt.media import PreparedImage, PreparedSound
from recipes.nano import moving, pictures, printed, speech
from recipes.nano.drawing import KINDS, Picture
from recipes.nano.seen import (
    BINS,
    IGNORED,
    LETTERS,
    SAID,
    Sample,
    clip_sample,
    cut,
    film_sample,
    listen,
    picture_sample,
)
from recipes.nano.senses_cases import clip_case, film_case, picture_case
from recipes.nano.senses_mix import media_batch
from recipes.nano.speech import Clip

PACKAGED = Path(__file__).resolve().parents[2] / "gemcut/nano"


@pytest.fixture(scope="module")
def nano() -> Gemma:
    return Gemma.load("nano", device="cpu")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(PACKAGED / "tokenizer.json"))


def same(nano: Gemma, sample: Sample, messages: object) -> None:
    """The sample is what `Gemma.prompt` makes of the same media: its ids, and what the towers read."""
    prompt = nano.prompt(list(messages))  # type: ignore[call-overload]
    asked = len(prompt.token_ids)
    assert sample.ids[:asked].tolist() == list(prompt.token_ids)
    assert not sample.mask[:asked].any()
    assert sample.mask[asked:].all()
    seen = [item for item in prompt.media if isinstance(item, PreparedImage)]
    heard = [item for item in prompt.media if isinstance(item, PreparedSound)]
    for image, theirs in zip(sample.images, seen, strict=True):
        assert image.grid == theirs.patches.grid
        assert image.soft_tokens == theirs.tokens
        assert np.abs(image.pixels - theirs.patches.pixels).max() < 1e-6
    for clip, sound in zip(sample.clips, heard, strict=True):
        assert np.array_equal(clip.mel, sound.frames)
        assert len(clip.marks) == sound.tokens


@pytest.mark.parametrize(("family", "soft_tokens"), [("count", 70), ("bar_chart", 70), ("words", 280)])
def test_a_picture_is_trained_on_as_it_is_asked_about(
    nano: Gemma, tokenizer: Tokenizer, family: str, soft_tokens: int
) -> None:
    picture = replace(pictures.FAMILIES[family].draw(random.Random(1), "train", soft_tokens), more=())
    same(nano, picture_sample(tokenizer, picture), picture_case(picture, soft_tokens).messages)


def test_a_film_is_trained_on_as_it_is_asked_about(nano: Gemma, tokenizer: Tokenizer) -> None:
    film = moving.draw(random.Random(2), "train")
    same(nano, film_sample(tokenizer, film), film_case(film).messages)


def test_a_clip_is_trained_on_as_it_is_asked_about(nano: Gemma, tokenizer: Tokenizer) -> None:
    clip = speech.beeps(random.Random(3), "train")
    same(nano, clip_sample(tokenizer, clip), clip_case(clip).messages)


def test_letters_are_marked_where_they_stand() -> None:
    """A letter's mark is the column of patches of its soft token in which its middle lies."""
    picture = printed.words(random.Random(5), "train", 12)
    marks = cut(picture.image, picture.marks).marks
    said = [LETTERS[number - 1] for number in marks[:, :3].reshape(-1) if number > 0]
    assert sorted(said) == sorted(letter for letter in picture.answer if letter != " ")
    assert not marks[:, 3:5].any()  # no shapes
    assert (marks[:, 6:] == IGNORED).all()  # and so no places, and no bars


def test_shapes_are_marked_with_their_places() -> None:
    """The soft token in which a shape's middle lies knows its kind, and where it is in the picture."""
    picture = pictures.kind(random.Random(5), "train", 12)
    _, *shapes = picture.marks
    marks = cut(picture.image, picture.marks).marks
    found = marks[marks[:, 3] > 0]
    assert sorted(KINDS[number - 1] for number in found[:, 3]) == sorted(s.name.split()[1] for s in shapes)
    sides = np.array(picture.image.size)
    for kind, *place in found[:, [3, 7, 8]].tolist():
        (shape,) = (shape for shape in shapes if shape.name.endswith(KINDS[kind - 1]))
        assert (
            np.abs((np.array(place) - 0.5) / BINS - np.array([shape.x, shape.y]) / sides).max() <= 0.5 / BINS
        )
    assert marks[0, 7:].min() >= 1  # a soft token without a shape knows its own
    assert marks[-1, 7:].min() > BINS / 2


def test_a_bars_letter_is_marked_with_its_value() -> None:
    picture = printed.bar_chart(random.Random(1), "train", 70)
    seen = cut(picture.image, picture.marks)
    found = {(LETTERS[max(row[:3]) - 1], row[6]) for row in seen.marks.tolist() if row[6] > 0}
    assert found == {(mark.name, mark.value) for mark in picture.marks}
    assert set(seen.patch_marks[:, 3].tolist()) == {IGNORED, *(mark.value for mark in picture.marks)}


def test_tones_are_marked_with_what_they_are() -> None:
    for name, answer in (("pitch", "{}"), ("slide", "{}"), ("beeps", "beep {}")):
        clip = speech.TONES[name][0](random.Random(1), "train")
        said = [SAID[number - 1] for number in listen(clip).marks if number > 0]
        assert said[-1] == answer.format(clip.answer)


def test_a_word_is_marked_from_its_half_on() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    clip = Clip(noise, "?", "stop", "en-us", (("stop", 0.4, 1.2),))
    marks = listen(clip).marks
    seconds = (np.arange(len(marks)) + 0.5) * 0.04
    assert (marks[seconds < 0.4] == 0).all()
    assert (marks[(seconds > 0.4) & (seconds < 0.8)] == IGNORED).all()
    assert (marks[(seconds > 0.8) & (seconds < 1.25)] == SAID.index("stop") + 1).all()
    assert (marks[seconds > 1.3] == 0).all()


def test_a_strip_keeps_its_place_on_the_page(nano: Gemma) -> None:
    """Positions that are given are those of a part of a larger image."""
    picture: Picture = printed.numbers(random.Random(2), "train", 8)
    seen = cut(picture.image, picture.marks, corner=(3, 6))
    pixels = torch.from_numpy(seen.pixels).to(torch.bfloat16)
    tower, batch = nano.model.model.vision_tower, media_batch(None, [seen])
    here = tower.encode_patches(pixels, batch.positions, [seen.grid])
    whole = patch_positions([seen.grid], torch.device("cpu"))
    assert torch.equal(batch.positions, whole + torch.tensor([6, 3]))
    assert not torch.equal(here, tower.encode_patches(pixels, whole, [seen.grid]))
