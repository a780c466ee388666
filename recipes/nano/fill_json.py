"""Fill a given JSON object from a sentence."""

import json
import random
from typing import Any

from recipes.nano.example import Example, Split, answer, user
from recipes.nano.lexicon import Lexicon

FAMILIES = (
    # (sentence, the keys that it fills and where their values come from)
    ("{name} is {age} years old and lives in {city}.", {"name": "name", "age": "age", "city": "city"}),
    (
        "{name} from {city} ordered {count} {item}.",
        {"name": "name", "city": "city", "count": "age", "item": "word"},
    ),
    ("The {item} costs {price} dollars.", {"item": "word", "price": "number"}),
    ("{name} will arrive at {time}.", {"name": "name", "time": "code"}),
    ("Meeting with {name} on {date} in {place}.", {"name": "name", "date": "code", "place": "city"}),
    ("{name} works as a {job} at {company}.", {"name": "name", "job": "word", "company": "city"}),
    ("My name is {name} and my email is {email}.", {"name": "name", "email": "code"}),
    ("The {color} {item} weighs {weight} kg.", {"color": "word", "item": "word", "weight": "number"}),
    ("{name} paid {amount} euros for a {item}.", {"name": "name", "amount": "number", "item": "word"}),
    (
        "Order {order}: {count} {item} for {name}.",
        {"order": "number", "count": "age", "item": "word", "name": "name"},
    ),
    ("I live in {city} and I am {age}.", {"city": "city", "age": "age"}),
    (
        "The train to {city} leaves at {time} from platform {platform}.",
        {"city": "city", "time": "code", "platform": "age"},
    ),
)
LEADS = (
    "Fill {o} from: {s}",
    "Fill in {o}: {s}",
    "Fill {o}\n{s}",
    "{s}\nFill {o}",
    "Complete {o} with: {s}",
    "{s} Fill this: {o}",
    "Fill the JSON {o} from this text: {s}",
    "{o}\n{s}",
    "Extract {o} from: {s}",
    "Fill {o} from this text: {s}",
    "Put this into {o}: {s}",
    "Please complete {o} from this: {s}",
    "Use this text to fill {o}: {s}",
    "Text: {s}\nJSON: {o}",
    "JSON: {o}\nText: {s}",
)
HELD_OUT_LEADS = ("Fill this JSON {o} from: {s}", "Fill {o} with this: {s}", "Please fill {o}: {s}")
PAIRS = (
    "the {k} is {v}",
    "{k} is {v}",
    "{k}: {v}",
    "{k} {v}",
    "its {k} is {v}",
    "{v} is the {k}",
    "{v} as {k}",
)
VALUE_FIRST = PAIRS[-2:]  # harder to a model that reads from left to right, so training sees them more


def _value(lexicon: Lexicon, source: str) -> Any:
    draws = {
        "name": lexicon.name,
        "city": lexicon.city,
        "word": lexicon.word,
        "number": lexicon.number,
        "age": lambda: lexicon.number(2, 99),
        "code": lexicon.code,
        "any": lambda: lexicon.number() if lexicon.rng.random() < 0.3 else lexicon.text_value(),
    }
    return draws[source]()


def _empty(rng: random.Random, value: Any) -> Any:
    return rng.choice((0, None) if isinstance(value, int) else ("", "", None))


def fill_json(rng: random.Random, split: Split) -> Example:
    """A JSON object with empty values, a sentence, and the object filled."""
    lexicon = Lexicon(rng, split)
    if rng.random() < 0.35:
        sentence, sources = rng.choice(FAMILIES)
        row = {key: _value(lexicon, source) for key, source in sources.items()}
        text = sentence.format(**row)
        keys = list(row)
        rng.shuffle(keys)
        keys = keys[: max(1, len(keys) - rng.choice((0, 0, 0, 1)))]
    else:
        row = {key: _value(lexicon, "any") for key in lexicon.words(rng.randint(1, 5))}
        pairs = PAIRS if split == "held_out" else PAIRS + VALUE_FIRST
        form = rng.choice(pairs)
        keys = list(row)
        shuffled = rng.sample(keys, len(keys))
        parts = [(form if rng.random() < 0.7 else rng.choice(pairs)).format(k=k, v=row[k]) for k in shuffled]
        text = (", " if rng.random() < 0.5 else " and ").join(parts)
        text = f"{text[:1].upper()}{text[1:]}." if rng.random() < 0.3 and text[:3] in ("the", "its") else text
        if len(keys) > 2 and rng.random() < 0.2:
            keys = keys[:-1]
    wanted = {key: row[key] for key in keys}
    if rng.random() < 0.05:
        wanted[lexicon.word()] = None
    style = rng.random()
    form_text = json.dumps({k: "" if style < 0.5 else _empty(rng, v) for k, v in wanted.items()})
    leads = LEADS if split == "train" else HELD_OUT_LEADS
    messages = [user(rng.choice(leads).format(o=form_text, s=text))]
    messages.append(answer(json.dumps(wanted, ensure_ascii=False)))
    return Example(task="json", messages=messages, check="json")
