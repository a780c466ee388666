"""Words, names and values in two spaces that never meet: what training says, and what only the cases say.

A word is held out where crc32(word) is HELD_OUT modulo 10, unless the training text's own sentences say it.
"""

import random
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from zlib import crc32

from recipes.nano.example import Split

FOLDER = Path(__file__).parent


def listed(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


LISTS: dict[str, str] = tomllib.loads((FOLDER / "lists.toml").read_text())
WORDS = listed((FOLDER / "words.txt").read_text())
VERBS, NOUNS, PARAMETERS = (listed(LISTS[key]) for key in ("verbs", "nouns", "parameters"))
NAMES, CITIES, COLORS = (listed(LISTS[key]) for key in ("names", "cities", "colors"))
ONSETS, VOWELS = listed(LISTS["onsets"]), listed(LISTS["vowels"])
SAID = frozenset(listed(LISTS["said"]))  # never held out
HELD_OUT = 7
CODAS = ("", "", "", "", "", "", "n", "r", "l", "s", "t", "m", "x")


def in_split(text: str, split: Split) -> bool:
    """Whether the space of `split` holds the word `text`, whatever its case."""
    word = text.lower()
    return (word not in SAID and crc32(word.encode()) % 10 == HELD_OUT) == (split == "held_out")


class Lexicon:
    """Draws words and values of one split."""

    def __init__(self, rng: random.Random, split: Split) -> None:
        """Draws come from `rng` and lie in the space of `split`."""
        self.rng = rng
        self.split: Split = split

    def until(self, draw: Callable[[], str]) -> str:
        """The first drawn text of this split.  Raises ValueError where a thousand draws give none."""
        for _ in range(1000):
            if in_split(text := draw(), self.split):
                return text
        raise ValueError(f"nothing that is drawn here lies in the split {self.split!r}; draw from more words")

    def choice(self, options: Sequence[str]) -> str:
        """One of the options of this split."""
        return self.until(lambda: self.rng.choice(options))

    def _syllables(self) -> str:
        rng = self.rng
        count = rng.choice((1, 2, 2, 2, 3))
        word = "".join(rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(count)) + rng.choice(CODAS)
        return word if rng.random() < 0.9 else rng.choice(VOWELS) + word

    def invented(self) -> str:
        """A pronounceable word that means nothing."""
        return self.until(self._syllables)

    def word(self) -> str:
        """A lower-case word, real or invented."""
        return self.choice(WORDS) if self.rng.random() < 0.5 else self.invented()

    def words(self, count: int) -> list[str]:
        """As many different words."""
        found: dict[str, None] = {}
        while len(found) < count:
            found[self.word()] = None
        return list(found)

    def _mostly(self, options: Sequence[str], share: float) -> str:
        return self.choice(options) if self.rng.random() < share else self.word()

    def verb(self) -> str:
        """A verb, now and then an invented one."""
        return self._mostly(VERBS, 0.7)

    def noun(self) -> str:
        """A noun, or some word in its place."""
        return self._mostly(NOUNS, 0.5)

    def parameter(self) -> str:
        """A parameter's name: one word, or two joined by an underscore."""
        name = self._mostly(PARAMETERS, 0.6)
        return f"{self.word()}_{name}" if self.rng.random() < 0.12 else name

    def name(self) -> str:
        """A person's name."""
        return self.choice(NAMES) if self.rng.random() < 0.3 else self.invented().capitalize()

    def city(self) -> str:
        """A city, or an invented place."""
        return self.choice(CITIES) if self.rng.random() < 0.4 else self.invented().capitalize()

    def number(self, low: int = 1, high: int = 9999) -> int:
        """A number, short ones as likely as long ones."""
        low = max(low, 10) if self.split == "held_out" else low  # single digits are everywhere

        def draw() -> str:
            digits = self.rng.randint(len(str(low)), len(str(high)))
            return str(self.rng.randint(max(low, 10 ** (digits - 1)), min(high, 10**digits - 1)))

        while True:
            text = draw()
            if len(text) == 1 or in_split(text, self.split):
                return int(text)

    def code(self) -> str:
        """Something like KB-4821, a time, a date or an address of mail."""
        rng = self.rng
        kind = rng.randrange(6)
        if kind == 0:
            return self.until(
                lambda: f"{rng.randint(0, 23):02d}:{rng.choice((0, 15, 30, 45, rng.randint(0, 59))):02d}"
            )
        if kind == 1:
            return self.until(lambda: f"2026-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}")
        if kind == 2:
            return f"{self.invented()}@{self.word()}.{rng.choice(('com', 'org', 'net'))}"
        if kind == 3:
            return f"{self.word()}.{rng.choice(('txt', 'png', 'pdf', 'csv'))}"
        letters = "".join(rng.choice("ABCDEFGHJKLMNPRSTUVWXZ") for _ in range(2))
        return self.until(lambda: f"{letters}{rng.choice(('-', ''))}{rng.randint(10, 999)}")

    def text_value(self) -> str:
        """A string as tools get it: mostly one word, also a name, a place, a code or two words."""
        roll = self.rng.random()
        if roll < 0.4:
            return self.word()
        if roll < 0.6:
            return self.name() if roll < 0.5 else self.city()
        if roll < 0.78:
            return self.code()
        if roll < 0.84:
            return self.choice(COLORS)
        return " ".join(self.words(2 if roll < 0.96 else 3))
