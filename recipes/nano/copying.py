"""What to learn first: copy, look up, pick. Many short questions about one list: every answer is a copy."""

import json
import random

from recipes.nano.example import Example, Json, Split, answer, user
from recipes.nano.lexicon import Lexicon
from recipes.nano.toolset import draw_arguments, draw_tools

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
STYLES = ("{k}={v}", "{k}: {v}", "{k} is {v}", "{k} -> {v}", "{k} {v}", '"{k}": "{v}"')


def repeat(rng: random.Random, split: Split) -> Example:
    """Say again what was said, several times."""
    lexicon = Lexicon(rng, split)
    messages: list[Json] = []
    for _ in range(rng.choice((2, 3, 4))):
        roll = rng.random()
        text = (
            " ".join(lexicon.words(rng.randint(1, 8)))
            if roll < 0.5
            else "_".join(lexicon.words(rng.randint(2, 4)))
            if roll < 0.7
            else ", ".join(lexicon.text_value() for _ in range(rng.randint(2, 5)))
        )
        lead = rng.choice(
            ("Repeat: {}", "Say {}", "repeat {}", 'Copy "{}"', "Echo: {}", "Repeat after me: {}")
        )
        messages += [user(lead.format(text)), answer(text)]
    return Example(task="repeat", messages=messages)


def lookup(rng: random.Random, split: Split) -> Example:
    """A table of keys and values; questions both ways."""
    lexicon = Lexicon(rng, split)
    keys = lexicon.words(rng.randint(3, 8))
    values = [lexicon.text_value() if rng.random() < 0.7 else str(lexicon.number()) for _ in keys]
    style = rng.choice(STYLES)
    table = rng.choice((", ", "; ", "\n")).join(
        style.format(k=k, v=v) for k, v in zip(keys, values, strict=True)
    )
    messages: list[Json] = []
    for turn in range(rng.choice((4, 5, 6))):
        i = rng.randrange(len(keys))
        if rng.random() < 0.65 or values.count(values[i]) > 1:
            forms = ("What is {}?", "{}?", "the {}?", "value of {}", "Tell me {}.", "{} please")
            question, reply = rng.choice(forms).format(keys[i]), values[i]
        else:
            forms = ("Which one is {}?", "Who has {}?", "which is {}", "What has the value {}?", "key of {}")
            question, reply = rng.choice(forms).format(values[i]), keys[i]
        messages += [user(f"{table}\n{question}" if turn == 0 else question), answer(reply)]
    return Example(task="lookup", messages=messages)


def pick(rng: random.Random, split: Split) -> Example:
    """A list; items by their place and by their neighbour."""
    lexicon = Lexicon(rng, split)
    items = lexicon.words(rng.randint(3, 6))
    messages: list[Json] = []
    for turn in range(rng.choice((4, 5, 6))):
        i = rng.randrange(len(items))
        roll = rng.random()
        if roll < 0.4 and i + 1 < len(items):
            question, reply = (
                rng.choice(("What follows {}?", "after {}?", "next to {}?")).format(items[i]),
                items[i + 1],
            )
        elif roll < 0.6 and i > 0:
            question, reply = rng.choice(("What is before {}?", "before {}?")).format(items[i]), items[i - 1]
        elif roll < 0.9:
            question, reply = (
                rng.choice(("The {} one?", "the {}", "Which is {}?")).format(ORDINALS[i]),
                items[i],
            )
        else:
            question, reply = rng.choice(("The last one?", "last", "Which is last?")), items[-1]
        messages += [user(f"{rng.choice((', ', ' ')).join(items)}\n{question}" if turn == 0 else question)]
        messages.append(answer(reply))
    return Example(task="pick", messages=messages)


def as_json(rng: random.Random, split: Split) -> Example:
    """Pairs written as JSON."""
    lexicon = Lexicon(rng, split)
    messages: list[Json] = []
    for _ in range(rng.choice((1, 2, 2))):
        row = {
            key: lexicon.number() if rng.random() < 0.3 else lexicon.text_value()
            for key in lexicon.words(rng.randint(1, 5))
        }
        pairs = ", ".join(f"{k} {v}" for k, v in row.items())
        messages += [user(rng.choice(("JSON: {}", "As JSON: {}", "write as JSON: {}")).format(pairs))]
        messages.append(answer(json.dumps(row, ensure_ascii=False)))
    return Example(task="as_json", messages=messages)


def which_tool(rng: random.Random, split: Split) -> Example:
    """Tools are declared; questions about their names, in words."""
    lexicon = Lexicon(rng, split)
    declared = draw_tools(lexicon, rng.choice((2, 3, 4)))
    messages: list[Json] = []
    for _ in range(rng.choice((3, 4, 5))):
        tool = rng.choice(declared)
        arguments = draw_arguments(lexicon, tool)
        roll = rng.random()
        if roll < 0.6 or not tool.parameters:
            lead = rng.choice(
                ("Which tool can {} the {}?", "tool to {} the {}?", "name of the tool to {} a {}")
            )
            messages += [user(lead.format(tool.verb, tool.noun)), answer(tool.name)]
        elif roll < 0.8:
            lead = rng.choice(("Which parameters has {}?", "parameters of {}"))
            names = sorted(p.name for p in tool.parameters)
            messages += [user(lead.format(tool.name)), answer(", ".join(names))]
        else:
            pairs = " and ".join(f"{k} {v}" for k, v in arguments.items() if not isinstance(v, bool))
            lead = f"{tool.verb} {tool.noun} with {pairs}" if pairs else f"{tool.verb} {tool.noun}"
            lead = f"Which tool for: {lead}?"
            messages += [user(lead), answer(tool.name)]
    return Example(task="which_tool", messages=messages, tools=[t.schema() for t in declared])
