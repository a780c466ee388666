"""Sound with a question and its answer: spoken words and digits with noise, and simple tones.

`python -m recipes.nano.speech FOLDER` writes some clips to listen to, and says what is in them.
"""

import math
import random
import sys
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from recipes.nano.example import Split
from recipes.nano.voices import DIGITS, RATE_HZ, SEEN, UNSEEN, VOCABULARY, Bank, Samples, open_bank
from recipes.nano.wordings import Wordings

BANK = Path("build/nano/speech.npz")
SAID = Wordings(
    (
        "What is said?",
        "What do you hear?",
        "Write down what you hear.",
        "What does the voice say?",
        "Transcribe this.",
        "Transcribe the audio.",
        "What was said?",
        "Which words do you hear?",
        "Tell me what is said.",
        "Please write down the words.",
        "What does the speaker say?",
        "Listen and write it down.",
    ),
    (
        "Can you write down what is said?",
        "What does the recording say?",
        "Please transcribe what you hear.",
        "Which words does the voice say?",
    ),
)
DIGITS_SAID = Wordings(
    (
        "Which digits do you hear?",
        "What digits are said?",
        "Write down the digits.",
        "Which digits are spoken?",
        "Tell me the digits.",
        "What are the digits?",
        "Listen to the digits and write them down.",
        "Digits?",
    ),
    (
        "Can you write down the digits?",
        "Which digits does the voice say?",
        "Please note the digits you hear.",
    ),
)
PITCH = Wordings(
    (
        "Is the tone high or low?",
        "Is this tone low or high?",
        "Is it a high or a low tone?",
        "High or low?",
        "Tell me if the tone is high or low.",
        "How is the tone, high or low?",
    ),
    ("Can you tell me whether the tone is high or low?", "Does the tone sound high or low?"),
)
BEEPS = Wordings(
    (
        "How many beeps?",
        "How many beeps do you hear?",
        "Count the beeps.",
        "How many beeps are there?",
        "What is the number of beeps?",
        "Tell me how many beeps there are.",
    ),
    ("Can you count the beeps?", "How many times does it beep?"),
)
SLIDE = Wordings(
    (
        "Does the tone rise or fall?",
        "Does this tone fall or rise?",
        "Is the tone going up or down?",
        "Tell me if the tone rises or falls.",
        "Which way does the tone go?",
        "Rising or falling?",
    ),
    ("Can you tell me whether the tone rises or falls?", "Does the sound rise or fall?"),
)
LOW_HZ, HIGH_HZ = (120, 320), (900, 2200)
MOST_BEEPS, MOST_DIGITS = 4, 5
PLAIN = 0.25  # share of clips without noise
NOISE_DB = (5, 30)  # signal over noise
STRETCH = (0.88, 1.14)  # of the length of a take in training
Marks = tuple[tuple[str, float, float], ...]
Said = tuple[Samples, Marks]
HEARD = ("low", "high", "rises", "falls", *(f"beep {i + 1}" for i in range(MOST_BEEPS)))

Voices = Literal["seen", "unseen"]


@dataclass(frozen=True, eq=False)
class Clip:
    """Mono sound at 16 kHz, a question about it, and the answer that is right.

    samples: (n,) float32 in [-1, 1].  voice: of espeak-ng, None for tones.
    marks: for a trainer that teaches the audio tower before the model asks it: each word that is said, and
    what a tone is (see HEARD), with the seconds at which it begins and ends.
    """

    samples: Samples
    question: str
    answer: str
    voice: str | None
    marks: Marks


def _silence(rng: random.Random, shortest_s: float, longest_s: float) -> Samples:
    return np.zeros(int(rng.uniform(shortest_s, longest_s) * RATE_HZ), np.float32)


def _noise(rng: random.Random, count: int) -> Samples:
    """White noise, pink noise, or the hum of mains, of power 1."""
    source = np.random.default_rng(rng.getrandbits(64))
    kind = rng.choice(("white", "pink", "hum"))
    noise = source.standard_normal(count, dtype=np.float32)
    if kind == "pink":
        wide = 1 << (count - 1).bit_length()  # a power of two: the transform is quick for every count
        spectrum = np.fft.rfft(source.standard_normal(wide, dtype=np.float32))
        noise = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1))[:count]
    elif kind == "hum":
        turns = 2 * np.pi * rng.choice((50, 60)) * np.arange(count) / RATE_HZ
        noise = (
            0.2 * noise
            + np.sin(turns)
            + 0.5 * np.sin(2 * turns + rng.uniform(0, 6))
            + 0.2 * np.sin(3 * turns)
        )
    return (noise / np.sqrt(np.mean(noise**2))).astype(np.float32)


def recorded(rng: random.Random, pieces: list[Samples]) -> Samples:
    """The pieces one after the other, mostly with noise, at some volume."""
    whole = np.concatenate(pieces)
    if rng.random() >= PLAIN:
        sound = np.concatenate(pieces)
        power = float(np.mean(sound[sound != 0] ** 2))
        whole += _noise(rng, len(whole)) * math.sqrt(power / 10 ** (rng.uniform(*NOISE_DB) / 10))
    gain = math.exp(rng.uniform(math.log(0.1), math.log(0.95)))
    return whole * np.float32(gain / max(float(np.abs(whole).max()), 1e-6))


def _said(rng: random.Random, split: Split, bank: Bank, voice: str, words: list[str]) -> Said:
    """The words with small pauses; in training a little faster or slower than the bank's takes."""
    pieces, marks, end = [_before(rng)], [], 0
    stretch = rng.uniform(*STRETCH) if split == "train" else 1.0
    for word in words:
        begin = sum(map(len, pieces))
        pieces += [_stretched(bank.take(rng, split, voice, word), stretch)]
        end = sum(map(len, pieces))
        marks.append((word, begin / RATE_HZ, end / RATE_HZ))
        pieces.append(_silence(rng, 0.04, 0.3))
    return recorded(rng, [*pieces[:-1], _behind(rng)]), tuple(marks)


def _before(rng: random.Random) -> Samples:
    return _silence(rng, 0.05, 0.35)


def _behind(rng: random.Random) -> Samples:
    return _silence(rng, 0.1, 0.35)


def _stretched(samples: Samples, factor: float) -> Samples:
    """As if played slower (factor above 1) or faster: another speed, pitch and size of the speaker."""
    at = np.arange(int(len(samples) * factor)) / factor
    return np.interp(at, np.arange(len(samples)), samples).astype(np.float32)


def word(rng: random.Random, split: Split, bank: Bank, voice: str) -> Clip:
    """One word of the vocabulary."""
    said = rng.choice(VOCABULARY)
    samples, marks = _said(rng, split, bank, voice, [said])
    return Clip(samples, SAID.ask(rng, split), said, voice, marks)


def words(rng: random.Random, split: Split, bank: Bank, voice: str) -> Clip:
    """Two or three words with small pauses."""
    said = rng.choices(VOCABULARY, k=rng.choice((2, 2, 3)))
    samples, marks = _said(rng, split, bank, voice, said)
    return Clip(samples, SAID.ask(rng, split), " ".join(said), voice, marks)


def digits(rng: random.Random, split: Split, bank: Bank, voice: str) -> Clip:
    """One to five digits, which the answer writes as digits: 4 0 7."""
    said = [rng.randrange(10) for _ in range(rng.randint(1, MOST_DIGITS))]
    samples, marks = _said(rng, split, bank, voice, [DIGITS[digit] for digit in said])
    question = (DIGITS_SAID if rng.random() < 0.7 else SAID).ask(rng, split)
    return Clip(samples, question, " ".join(map(str, said)), voice, marks)


def tone(rng: random.Random, hertz: tuple[float, float], seconds: float) -> Samples:
    """A tone that goes from the first frequency to the second, with soft ends and a little timbre."""
    count = int(seconds * RATE_HZ)
    at = np.arange(count) / count
    frequency = hertz[0] * (hertz[1] / hertz[0]) ** at
    turns = 2 * np.pi * np.cumsum(frequency) / RATE_HZ
    edge = np.minimum(1, np.minimum(np.arange(count), np.arange(count)[::-1]) / (0.01 * RATE_HZ))
    return ((np.sin(turns) + rng.uniform(0, 0.3) * np.sin(2 * turns)) * 0.6 * edge).astype(np.float32)


def _sounding(rng: random.Random, tones: list[Samples], names: list[str]) -> Said:
    """The tones with pauses, each marked with its name."""
    pieces, marks = [_before(rng)], []
    for sound, name in zip(tones, names, strict=True):
        begin = sum(map(len, pieces))
        pieces += [sound, _silence(rng, 0.12, 0.25)]
        marks.append((name, begin / RATE_HZ, (begin + len(sound)) / RATE_HZ))
    return recorded(rng, [*pieces[:-1], _behind(rng)]), tuple(marks)


def pitch(rng: random.Random, split: Split) -> Clip:
    """A tone far below or far above the middle."""
    answer = rng.choice(("low", "high"))
    hertz = rng.uniform(*(LOW_HZ if answer == "low" else HIGH_HZ))
    samples, marks = _sounding(rng, [tone(rng, (hertz, hertz), rng.uniform(0.25, 1))], [answer])
    return Clip(samples, PITCH.ask(rng, split), answer, None, marks)


def beeps(rng: random.Random, split: Split) -> Clip:
    """One to four beeps of one kind; each is marked with its number."""
    count, hertz, length = rng.randint(1, MOST_BEEPS), rng.uniform(300, 1800), rng.uniform(0.08, 0.2)
    tones = [tone(rng, (hertz, hertz), length) for _ in range(count)]
    samples, marks = _sounding(rng, tones, [f"beep {i + 1}" for i in range(count)])
    return Clip(samples, BEEPS.ask(rng, split), str(count), None, marks)


def slide(rng: random.Random, split: Split) -> Clip:
    """A tone that rises or falls by more than half an octave."""
    low = rng.uniform(200, 800)
    ends = (low, low * rng.uniform(1.5, 2.8))
    answer = rng.choice(("rises", "falls"))
    sound = tone(rng, ends if answer == "rises" else ends[::-1], rng.uniform(0.4, 1.2))
    samples, marks = _sounding(rng, [sound], [answer])
    return Clip(samples, SLIDE.ask(rng, split), answer, None, marks)


SPOKEN: dict[str, tuple[Callable[[random.Random, Split, Bank, str], Clip], float]] = {
    "word": (word, 0.3),
    "words": (words, 0.25),
    "digits": (digits, 0.3),
}
TONES: dict[str, tuple[Callable[[random.Random, Split], Clip], float]] = {
    "pitch": (pitch, 0.05),
    "beeps": (beeps, 0.06),
    "slide": (slide, 0.04),
}


def spoken(name: str, rng: random.Random, split: Split, bank: Bank, voices: Voices) -> Clip:
    """One clip of a family of SPOKEN, by a voice that training hears, or by the one it never hears."""
    voice = UNSEEN if voices == "unseen" else rng.choice(SEEN)
    return SPOKEN[name][0](rng, split, bank, voice)


def draw(rng: random.Random, split: Split, bank: Bank) -> Clip:
    """One clip of any family; voices are the seen ones in both splits."""
    shares = {name: share for name, (_, share) in (SPOKEN | TONES).items()}
    name = rng.choices(list(shares), list(shares.values()))[0]
    return TONES[name][0](rng, split) if name in TONES else spoken(name, rng, split, bank, "seen")


def write_wav(file: Path, samples: Samples) -> None:
    """Writes a clip as 16-bit mono."""
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes(np.round(samples * 32_767).astype("<i2").tobytes())


def preview(folder: Path, seed: int = 1, count: int = 12) -> None:
    """Writes clips to listen to; makes the bank first where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    bank = open_bank(BANK)
    for i in range(count):
        clip = draw(random.Random(f"{seed}/{i}"), "train", bank)
        write_wav(folder / f"{i:02d}.wav", clip.samples)
        print(
            f"{i:02d}.wav  {len(clip.samples) / RATE_HZ:.1f} s  {clip.voice}  {clip.question} → {clip.answer}"
        )


if __name__ == "__main__":
    preview(Path(sys.argv[1]))
