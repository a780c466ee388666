"""The files in examples/: shapes, printed words, a spoken clip and a film, all held out from training.

`python -m recipes.nano.samples examples` writes them.
"""

import random
import sys
from itertools import count
from pathlib import Path

import av
import numpy as np

from recipes.nano import moving, pictures, printed
from recipes.nano.moving import Film
from recipes.nano.speech import BANK, spoken, write_wav
from recipes.nano.voices import open_bank

SEED = 1
FRAMES_PER_S = 10  # of the film's file: players show no still for half a second
SHAPES = 4  # at least, in the picture that shows some
BITS_PER_S = 400_000  # as much as sharp edges want


def write_samples(folder: Path) -> dict[str, tuple[str, str]]:
    """Writes the files; returns the question and the right answer of each."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {}
    drawn = (pictures.count(_rng(f"shapes {number}"), "held_out", 70) for number in count())
    shapes = next(picture for picture in drawn if len(picture.marks) > SHAPES)  # the ground has a mark too
    shapes.image.save(folder / "shapes.png")
    told["shapes.png"] = shapes.question, shapes.answer
    words = printed.words(_rng("words"), "held_out", 280)
    words.image.save(folder / "words.png")
    told["words.png"] = words.question, words.answer
    clip = spoken("words", _rng("clip"), "held_out", open_bank(BANK), "seen")
    write_wav(folder / "spoken.wav", clip.samples)
    told["spoken.wav"] = clip.question, clip.answer
    film = moving.direction(_rng("film"), "held_out", 70)
    write_film(folder / "moving.mp4", film)
    told["moving.mp4"] = film.question, film.answer
    return told


def _rng(name: str) -> random.Random:
    return random.Random(f"{SEED}/samples/{name}")


def write_film(file: Path, film: Film) -> None:
    """Writes the film as MP4, each of its frames shown for its time."""
    with av.open(str(file), "w") as out:
        stream = out.add_stream("mpeg4", rate=FRAMES_PER_S, bit_rate=BITS_PER_S)
        stream.width, stream.height = film.frames[0].size
        stream.pix_fmt = "yuv420p"
        for image in film.frames:
            for _ in range(round(film.seconds_per_frame * FRAMES_PER_S)):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")))
        out.mux(stream.encode(None))


def main() -> None:
    """Writes the files and says what is in them."""
    for name, (question, answer) in write_samples(Path(sys.argv[1])).items():
        print(f"{name}  {question} → {answer}")


if __name__ == "__main__":
    main()
