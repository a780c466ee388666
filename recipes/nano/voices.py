"""A bank of spoken words, made with espeak-ng: each word by each voice, at several speeds and pitches."""

import random
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gemcut.errors import BadTraining
from recipes.nano.example import Split
from recipes.nano.lexicon import listed

RATE_HZ = 16_000
ESPEAK_HZ = 22_050
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
VOCABULARY = listed(
    """
    yes no stop go left right up down red green blue yellow black white circle square triangle star
    cat dog bird fish horse tree house door window table water fire coffee apple banana orange music
    light open close start help hello morning evening monday sunday summer winter happy river mountain
    """
)
SEEN = (
    "en-us",
    "en-us+f2",
    "en-us+m3",
    "en-us+f5",
    "en-us-nyc+m7",
    "en",
    "en+f3",
    "en+m1",
    "en-gb-x-gbclan+f1",
    "en-gb-scotland+m4",
    "en-029+m2",
)
UNSEEN = "en-gb-x-rp+f4"  # neither this accent nor this variant occurs in SEEN
TAKES: dict[Split, int] = {"train": 4, "held_out": 2}
SPEEDS = (125, 200)  # words a minute
PITCHES = (30, 70)  # of espeak-ng's 0 to 99
PHASES, STEP = 320, 441  # 16,000 / 22,050 in lowest terms
TAPS = 48  # of the filter, samples of the source
LEVEL = 0.9  # the peak of a take
QUIET = 0.015  # of the peak: below it, a take's ends are silence

Samples = NDArray[np.float32]


@cache
def _filter() -> NDArray[np.float32]:
    """A low-pass filter for each phase between two source samples: (PHASES, TAPS), each row sums to 1."""
    at = np.arange(TAPS)[None, :] - TAPS / 2 + 1 - (np.arange(PHASES) * STEP % PHASES / PHASES)[:, None]
    cut = 0.94 * PHASES / STEP  # a little below half the target rate
    rows = np.sinc(at * cut) * np.cos(np.pi * at / (TAPS + 1)) ** 2
    return (rows / rows.sum(1, keepdims=True)).astype(np.float32)


def to_16_khz(samples: Samples) -> Samples:
    """Samples at 22.05 kHz → at 16 kHz; what 16 kHz cannot hold is filtered out."""
    count = len(samples) * PHASES // STEP
    number = np.arange(count)
    padded = np.pad(samples, (TAPS // 2 - 1, TAPS))
    around = (number * STEP // PHASES)[:, None] + np.arange(TAPS)[None, :]  # (count, TAPS)
    return np.einsum("nt,nt->n", padded[around], _filter()[number % PHASES]).astype(np.float32)


def trimmed(samples: Samples) -> Samples:
    """The samples without the silence at their ends, at LEVEL."""
    peak = np.abs(samples).max()
    loud = np.flatnonzero(np.abs(samples) > QUIET * peak)
    margin = RATE_HZ // 100
    kept = samples[max(loud[0] - margin, 0) : loud[-1] + margin]
    return (kept * (LEVEL / peak)).astype(np.float32)


def speak(text: str, voice: str, speed: int, pitch: int) -> Samples:
    """The text as espeak-ng says it, mono at 16 kHz, without silence around it.

    Raises BadTraining where espeak-ng is missing or does not know the accent.
    """
    program = shutil.which("espeak-ng")
    if program is None:
        raise BadTraining(
            "speech is made with espeak-ng, which is not installed; install it with: apt install espeak-ng"
        )
    command = [program, "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", "--", text]
    done = subprocess.run(command, capture_output=True, timeout=60)
    if done.returncode or len(done.stdout) <= 44:
        said = done.stderr.decode(errors="replace").strip() or "nothing"
        raise BadTraining(f"espeak-ng did not say {text!r} in the voice {voice!r}; its own words: {said}")
    pcm = np.frombuffer(done.stdout[44:], np.int16)  # behind the header: 22.05 kHz, mono, 16 bits
    return trimmed(to_16_khz(pcm.astype(np.float32) / 32_768))


def check_voices(names: tuple[str, ...]) -> None:
    """Raises BadTraining where two voices, or a variant and its own accent, sound the same.

    espeak-ng ignores a variant that it does not know, or that an accent cannot take, without a word.
    """
    heard: dict[bytes, str] = {}
    for name in dict.fromkeys([name.partition("+")[0] for name in names] + list(names)):
        other = heard.setdefault(speak("coffee in the morning, start", name, 160, 50).tobytes(), name)
        if other != name:
            raise BadTraining(
                f"espeak-ng speaks with the voice {name!r} just as with {other!r}; choose others, from those "
                "that `espeak-ng --voices=en` and `espeak-ng --voices=variant` list"
            )


def takes_of(word: str, voice: str, split: Split, seed: int) -> list[tuple[int, int]]:
    """Speed and pitch of each take of a word; those of the two splits never meet."""
    rng = random.Random(f"{seed}/{voice}/{word}")
    count = sum(TAKES.values())
    speeds = rng.sample(range(SPEEDS[0], SPEEDS[1] + 1), count)
    takes = [(speed, rng.randint(*PITCHES)) for speed in speeds]
    return takes[: TAKES["train"]] if split == "train" else takes[TAKES["train"] :]


@dataclass(frozen=True, eq=False)
class Bank:
    """Takes of words, one behind the other.

    pcm: int16 at 16 kHz.  spans: the takes of each "split/voice/word", as first sample and end.
    """

    pcm: NDArray[np.int16]
    spans: dict[str, list[tuple[int, int]]]

    def take(self, rng: random.Random, split: Split, voice: str, word: str) -> Samples:
        """One take of the word.  Raises BadTraining for what is not in the bank, such as UNSEEN in train."""
        key = f"{split}/{voice}/{word}"
        if key not in self.spans:
            raise BadTraining(
                f"the bank of speech holds no take of {key}; to have it made anew, delete its file"
            )
        first, end = rng.choice(self.spans[key])
        return self.pcm[first:end].astype(np.float32) / 32_768

    def save(self, file: Path) -> None:
        """Writes the bank."""
        keys = [key for key, spans in self.spans.items() for _ in spans]
        spans = [span for found in self.spans.values() for span in found]
        np.savez(file, pcm=self.pcm, keys=np.array(keys), spans=np.array(spans))

    @classmethod
    def load(cls, file: Path) -> "Bank":
        """The bank that `save` wrote."""
        with np.load(file) as data:
            spans: dict[str, list[tuple[int, int]]] = {}
            for key, (first, end) in zip(data["keys"].tolist(), data["spans"].tolist(), strict=True):
                spans.setdefault(key, []).append((first, end))
            return cls(data["pcm"], spans)


def make_bank(
    seed: int, words: tuple[str, ...] = VOCABULARY + DIGITS, voices: tuple[str, ...] = (*SEEN, UNSEEN)
) -> Bank:
    """Says every word in every voice: training's takes and held-out ones; UNSEEN has held-out ones only.

    Raises BadTraining where espeak-ng is missing or does not know a voice.
    """
    check_voices(voices)
    pieces: list[NDArray[np.int16]] = []
    spans: dict[str, list[tuple[int, int]]] = {}
    end = 0
    splits: tuple[Split, ...] = ("train", "held_out")
    for voice in voices:
        for split in splits if voice != UNSEEN else splits[1:]:
            for word in words:
                for speed, pitch in takes_of(word, voice, split, seed):
                    samples = np.round(speak(word, voice, speed, pitch) * 32_767).astype(np.int16)
                    pieces.append(samples)
                    spans.setdefault(f"{split}/{voice}/{word}", []).append((end, end + len(samples)))
                    end += len(samples)
    return Bank(np.concatenate(pieces), spans)


def open_bank(file: Path, seed: int = 0) -> Bank:
    """The bank in this file; where there is none, it is made (a minute or two) and written there."""
    if file.exists():
        return Bank.load(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    bank = make_bank(seed)
    bank.save(file)
    return bank
