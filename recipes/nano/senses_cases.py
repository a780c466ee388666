"""The held-out cases of what nano sees and hears."""

import random
from collections.abc import Callable
from zlib import crc32

import numpy as np

from gemcut.evals.scorers import exact_text, words_right
from gemcut.evals.task import Case, Scorer, Task
from recipes.nano import moving, pictures, printed, speech
from recipes.nano.drawing import Picture
from recipes.nano.moving import Film
from recipes.nano.speech import SPOKEN, TONES, Clip, Voices
from recipes.nano.voices import RATE_HZ, Bank

SEED = 2026
SHAPES, PAGE = 70, 280  # soft tokens of a picture of shapes, and of one with text
MEANINGS = {
    "shapes": "says colour, kind, number, place of shapes in a picture of 70 tokens",
    "charts": "reads a value from a bar chart of 70 tokens",
    "reading": "reads printed words, unseen ones, in a picture of 280 tokens (words)",
    "numbers": "reads a printed number in a picture of 280 tokens",
    "speech": "writes down spoken words and digits, voices seen (words)",
    "new_voice": "the same of a voice not heard in training (words)",
    "tones": "says whether a tone is high, how it slides, how many beeps there are",
    "movement": "says which way a shape moves in a video",
}


def picture_case(picture: Picture, soft_tokens: int) -> Case:
    """The question about a picture, to be read with this budget."""
    part = {"type": "image", "image": picture.image, "tokens": soft_tokens}
    return _case(part, picture.question, picture.answer)


def clip_case(clip: Clip) -> Case:
    """The question about a clip."""
    return _case({"type": "audio", "audio": (clip.samples, RATE_HZ)}, clip.question, clip.answer)


def film_case(film: Film) -> Case:
    """The question about a film."""
    frames = np.stack([np.asarray(frame) for frame in film.frames])
    return _case({"type": "video", "video": (frames, 1 / film.seconds_per_frame)}, film.question, film.answer)


def _case(part: dict[str, object], question: str, answer: str) -> Case:
    content = [part, {"type": "text", "text": question}]
    return Case(messages=({"role": "user", "content": content},), wanted=answer)


def reading_pictures(count: int) -> list[Picture]:
    """The held-out pictures of printed words."""
    rng = _rng("reading")
    return [printed.words(rng, "held_out", PAGE) for _ in range(count)]


def reading(cases: tuple[Case, ...]) -> Task:
    """The task of reading printed words."""
    return Task(name="reading", target=0.85, cases=cases, score=words_right)


def _rng(name: str) -> random.Random:
    return random.Random(crc32(f"{SEED}/{name}".encode()))


def senses_tasks(count: int, bank: Bank) -> tuple[Task, ...]:
    """All tasks of seeing and hearing, each with `count` cases."""

    def task(name: str, target: float, draw: Callable[[random.Random, int], Case], score: Scorer) -> Task:
        rng = _rng(name)
        return Task(name=name, target=target, cases=tuple(draw(rng, i) for i in range(count)), score=score)

    def shape(rng: random.Random, index: int) -> Case:
        names = pictures.SHAPE_FAMILIES
        family = pictures.FAMILIES[names[index % len(names)]]
        return picture_case(family.draw(rng, "held_out", SHAPES), SHAPES)

    def spoken(voices: Voices) -> Callable[[random.Random, int], Case]:
        names = list(SPOKEN)
        return lambda rng, i: clip_case(speech.spoken(names[i % len(names)], rng, "held_out", bank, voices))

    def tone(rng: random.Random, index: int) -> Case:
        families = list(TONES.values())
        return clip_case(families[index % len(families)][0](rng, "held_out"))

    return (
        task("shapes", 0.9, shape, exact_text),
        task(
            "charts",
            0.8,
            lambda r, _: picture_case(printed.bar_chart(r, "held_out", SHAPES), SHAPES),
            exact_text,
        ),
        reading(tuple(picture_case(picture, PAGE) for picture in reading_pictures(count))),
        task(
            "numbers", 0.85, lambda r, _: picture_case(printed.numbers(r, "held_out", PAGE), PAGE), exact_text
        ),
        task("speech", 0.85, spoken("seen"), words_right),
        task("new_voice", 0.7, spoken("unseen"), words_right),
        task("tones", 0.9, tone, exact_text),
        task("movement", 0.9, lambda r, _: film_case(moving.direction(r, "held_out", SHAPES)), exact_text),
    )
