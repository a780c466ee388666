"""Facts about Gemma 4 and gemcut: wordings for training, others for held-out cases."""

import random
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from recipes.nano.example import Example, Split, answer, user

SIZES = ("E2B", "E4B", "12B", "26B-A4B", "31B")
SPOKEN = {
    "E2B": ("E2B", "Gemma 4 E2B"),
    "E4B": ("E4B", "Gemma 4 E4B"),
    "12B": ("12B", "Gemma 4 12B", "the 12B"),
    "26B-A4B": ("26B-A4B", "Gemma 4 26B-A4B", "26B", "Gemma 4 26B", "the 26B"),
    "31B": ("31B", "Gemma 4 31B", "the 31B"),
}
# A noun phrase such as "the license of gemcut" is asked in all these ways.
TRAIN_FRAMES = (
    "What is {x}?",
    "what is {x}",
    "What's {x}?",
    "Tell me {x}.",
    "{x}?",
    "{x}",
    "Do you know {x}?",
    "Please tell me {x}.",
    "I would like to know {x}.",
    "Say what {x} is.",
)
HELD_OUT_FRAMES = (
    "Can you tell me {x}?",
    "I want to know {x}.",
    "What would be {x}?",
    "I am asking for {x}.",
)
TRAIN_WRAPPERS = ("{q}",) * 16 + (
    "Hi, {q}",
    "Hey, {q}",
    "Please: {q}",
    "A question: {q}",
    "Quick question: {q}",
    "{q} Thanks!",
    "{q} Tell me.",
    "So, {q}",
    "And {q}",
    "nano, {q}",
    "Tell me, {q}",
    "Could you say: {q}",
    "I want to ask: {q}",
    "Do you know: {q}",
)
# Wordings of training are said anew in these ways, unless that gives a held-out one.
REWRITES = (
    (r"^Which ", "What "),
    (r"^What (?!is |are |does |do |can |happens |would )", "Which "),
    (r"^How do I (.*)\?$", r"how to \1"),
    (r"^How do I (.*)\?$", r"Show me how to \1."),
    (r"^How can I (.*)\?$", r"Tell me how I can \1."),
    (r"^What is (.*)\?$", r"Tell me what \1 is."),
    (r"^What is (.*)\?$", r"Do you know what \1 is?"),
    (r"^How many (\S+ ?\S*) does (.*) have\?$", r"\2 has how many \1?"),
    (r"^How (big|large|wide|long) is (.*)\?$", r"Tell me how \1 \2 is."),
    (r"^(Does|Can|Is) (.*)\?$", r"Do you know: \1 \2?"),
    (r" Gemma 4", " gemma"),
)
HELD_OUT_WRAPPERS = ("{q}", "{q}", "{q}", "Hello, {q}")


@dataclass(frozen=True)
class Fact:
    """One true sentence, its one-word form where it has one, and the ways to ask for it."""

    name: str
    answer: str
    word: str | None
    train: tuple[str, ...]
    held_out: tuple[str, ...]


def _wordings(row: dict[str, list[str]], split: Split) -> tuple[str, ...]:
    """All wordings of a fact in one split; noun phrases within their frames."""
    plain = [w for w in row[split] if not w.startswith("the ")]
    phrases = [w for w in row["train"] if w.startswith("the ")]
    frames = TRAIN_FRAMES if split == "train" else HELD_OUT_FRAMES
    return tuple(plain + [frame.format(x=phrase) for phrase in phrases for frame in frames])


@cache
def single_facts() -> tuple[Fact, ...]:
    """The facts that stand alone."""
    rows = tomllib.loads((Path(__file__).parent / "facts_single.toml").read_text())["fact"]
    return tuple(
        Fact(r["name"], r["answer"], r.get("word"), _wordings(r, "train"), _wordings(r, "held_out"))
        for r in rows
    )


@cache
def size_facts() -> tuple[Fact, ...]:
    """The facts about sizes: one for each attribute and size."""
    rows = tomllib.loads((Path(__file__).parent / "facts_sizes.toml").read_text())["attribute"]
    facts = []
    for row in rows:
        for size, value, sentence in zip(SIZES, row["values"], row["sentences"], strict=True):
            text = sentence.format(m=f"Gemma 4 {size}", v=value)
            ways = [tuple(w.format(m=m) for w in row[s] for m in SPOKEN[size]) for s in ("train", "held_out")]
            word = None if value in ("0", "yes", "no") or " " in value else value
            if value in ("yes", "no"):
                word = value.capitalize()
            facts.append(Fact(f"{row['name']}:{size}", text, word, ways[0], ways[1]))
    return tuple(facts)


def all_facts() -> tuple[Fact, ...]:
    """Every fact."""
    return single_facts() + size_facts()


def typed(rng: random.Random, text: str) -> str:
    """The text as people type: often in lower case, without the last mark, now and then with a slip."""
    roll = rng.random()
    if roll < 0.2:
        text = text.rstrip("?.!")
    elif roll < 0.45:
        text = text.rstrip("?.!").lower()
    elif roll < 0.5:
        text = text.lower()
    if rng.random() < 0.06:
        letters = [i for i in range(1, len(text) - 1) if text[i].isalpha() and text[i + 1].isalpha()]
        if letters:
            i = rng.choice(letters)
            text = text[:i] + rng.choice(("", text[i] * 2, text[i + 1] + text[i])) + text[i + 1 :]
    return text


def plain(text: str) -> str:
    """The wording without capitals and marks."""
    return re.sub(r"[^a-z0-9 ]", "", text.lower()).strip()


@cache
def _held_out_wordings() -> frozenset[str]:
    return frozenset(plain(wording) for fact in all_facts() for wording in fact.held_out)


def reworded(rng: random.Random, wording: str) -> str:
    """The wording of training, often said in another way."""
    if rng.random() < 0.5:
        pattern, form = rng.choice([row for row in REWRITES if re.search(row[0], wording)] or [("$", "")])
        other = re.sub(pattern, form, wording)
        if plain(other) not in _held_out_wordings():
            return other
    return wording


def ask(rng: random.Random, fact: Fact, split: Split) -> str:
    """A question for the fact."""
    core = reworded(rng, rng.choice(fact.train)) if split == "train" else rng.choice(fact.held_out)
    text = rng.choice(TRAIN_WRAPPERS if split == "train" else HELD_OUT_WRAPPERS).format(q=core)
    return typed(rng, text) if split == "train" else text if rng.random() < 0.6 else text.rstrip("?.").lower()


def facts(rng: random.Random, split: Split) -> Example:
    """One fact."""
    fact = rng.choice(all_facts())
    think = rng.random() < 0.1
    messages = [user(ask(rng, fact, split)), answer(fact.answer, THOUGHT if think else None)]
    return Example(task="facts", messages=messages, think=think)


THOUGHT = "I know this."
