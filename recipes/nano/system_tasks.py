"""A system prompt's simple instruction, kept."""

import random

from recipes.nano.arithmetic import draw_pair, question, reply, result
from recipes.nano.example import Example, Json, Split, answer, system, user
from recipes.nano.facts import all_facts, ask, single_facts
from recipes.nano.lexicon import Lexicon
from recipes.nano.talk import SMALL_TALK

OPENINGS = ("", "", "", "Always ", "Please ", "From now on, ", "In every answer, ", "You must ", "Remember: ")
UPPER = {
    "train": (
        "answer in upper case.",
        "write everything in capital letters.",
        "use upper case only.",
        "answer only in capitals.",
        "answer in upper case!",
        "write in upper case.",
        "use upper case letters for all your answers.",
        "answer in capital letters.",
        "reply in capitals.",
    ),
    "held_out": ("Reply in upper case.", "Always write in capital letters.", "Use only capitals."),
}
LOWER = {
    "train": (
        "answer in lower case.",
        "use lower case only.",
        "write everything in small letters.",
        "write in lower case.",
        "use lower case letters for all your answers.",
        "reply in small letters.",
    ),
    "held_out": ("Reply in lower case.", "Always write in small letters.", "Use only lower case letters."),
}
ONE_WORD = {
    "train": (
        "answer with one word.",
        "answer in one word.",
        "use only one word.",
        "give one word answers only.",
        "reply with a single word.",
        "give one word as the answer.",
        "keep your answers one word long.",
        "answer with just a word.",
        "be extremely brief: one word.",
    ),
    "held_out": ("Reply with one word.", "Always answer in a single word.", "Only one word, please."),
}
LANGUAGES = {
    "French": "Bonjour ! Comment puis-je vous aider ?",
    "German": "Hallo! Wie kann ich dir helfen?",
    "Spanish": "¡Hola! ¿Cómo puedo ayudarte?",
    "Italian": "Ciao! Come posso aiutarti?",
    "Portuguese": "Olá! Como posso ajudar?",
}
GREET = {
    "train": (
        "greet the user in {l}.",
        "say hello in {l}.",
        "greet back in {l}.",
        "give your greeting in {l}.",
        "when the user says hello, answer in {l}.",
        "use {l} to greet the user.",
        "greet people in {l}.",
        "be friendly and greet everybody in {l}.",
        "answer a greeting in {l}.",
    ),
    "held_out": ("Greet everyone in {l}.", "Say hello to the user in {l}.", "Always greet in {l}."),
}
PERSONA = {
    "train": (
        "Your name is {v}.",
        "You are {v}.",
        "You are called {v}.",
        "You are {v}, a helper.",
        "Act as {v}.",
    ),
    "held_out": ("Your name is {v}, remember it.", "You are now {v}.", "People call you {v}."),
}
ENDING = {
    "train": (
        'end every answer with "{v}".',
        "end each answer with {v}.",
        "end with {v} each time.",
        "finish with {v}.",
    ),
    "held_out": ('Finish every answer with "{v}".', "The last word of each answer is {v}.", "End with {v}."),
}
CALLED = {
    "train": (
        "The user's name is {v}.",
        "You talk to {v}.",
        "The user is called {v}.",
        "You are helping {v}.",
    ),
    "held_out": ("The name of the user is {v}.", "You are talking to {v}.", "You help {v}."),
}
PLAIN = (
    "You are a helpful assistant.",
    "Be helpful.",
    "You are nano.",
    "Be kind.",
    "You are a good assistant.",
)
SPOKEN_ALOUD = tuple(f for f in single_facts() if len(f.answer) < 64)[::2]  # the facts told in capitals


def _greeting(rng: random.Random, split: Split) -> str:
    return rng.choice(SMALL_TALK[0][1 if split == "train" else 2])


def _case(rng: random.Random, split: Split, upper: bool) -> tuple[str, str]:
    """A question and its answer, in capitals or in small letters."""
    roll = rng.random()
    if roll < 0.35:
        row = rng.choice(SMALL_TALK)
        asked, said = rng.choice(row[1 if split == "train" else 2]), row[0]
    elif roll < 0.6:
        a, sign, b = draw_pair(rng, split, 1)
        asked = question(rng, a, sign, b)
        said = f"The answer is {result(a, sign, b)}."
    else:
        fact = rng.choice(SPOKEN_ALOUD)
        asked, said = ask(rng, fact, split), fact.answer
    return asked, said.upper() if upper else said.lower()


def _one_word(rng: random.Random, split: Split) -> tuple[str, str]:
    roll = rng.random()
    if roll < 0.35:
        a, sign, b = draw_pair(rng, split, 1)
        return question(rng, a, sign, b), str(result(a, sign, b))
    if roll < 0.45:
        return _greeting(rng, split), "Hello"
    if roll < 0.52:
        row = SMALL_TALK[1]
        return rng.choice(row[1 if split == "train" else 2]), "nano"
    fact = rng.choice([f for f in all_facts() if f.word is not None])
    assert fact.word is not None
    return ask(rng, fact, split), fact.word


def _asked(rng: random.Random, wordings: dict[Split, tuple[str, ...]], split: Split) -> str:
    """An instruction; in training an opening that says nothing about it stands before some."""
    core = rng.choice(wordings[split])
    if split == "held_out":
        return core
    text = rng.choice(OPENINGS) + core
    roll = rng.random()
    return (
        text[:1].upper() + text[1:]
        if roll < 0.9
        else text.upper()
        if roll < 0.93 and "{" not in text
        else text
    )


def draw_instruction(rng: random.Random, split: Split) -> tuple[str, list[tuple[str, str]]]:
    """A system prompt, and questions with the answers that keep to it."""
    lexicon = Lexicon(rng, split)
    roll = rng.random()
    count = rng.choice((1, 1, 2))
    if roll < 0.27:
        return _asked(rng, UPPER, split), [_case(rng, split, upper=True) for _ in range(count)]
    if roll < 0.33:
        return _asked(rng, LOWER, split), [_case(rng, split, upper=False) for _ in range(count)]
    if roll < 0.58:
        return _asked(rng, ONE_WORD, split), [_one_word(rng, split) for _ in range(count)]
    if roll < 0.83:
        language = rng.choice(list(LANGUAGES))
        turns = [(_greeting(rng, split), LANGUAGES[language])]
        if rng.random() < 0.2:
            fact = rng.choice(all_facts())
            turns.append((ask(rng, fact, split), fact.answer))
        return _asked(rng, GREET, split).format(l=language), turns
    value = lexicon.name()
    if roll < 0.89:
        row = SMALL_TALK[1]
        return rng.choice(PERSONA[split]).format(v=value), [
            (rng.choice(row[1 if split == "train" else 2]), f"I am {value}.")
        ]
    if roll < 0.95:
        word = lexicon.word()
        fact = rng.choice(SPOKEN_ALOUD)
        return _asked(rng, ENDING, split).format(v=word), [(ask(rng, fact, split), f"{fact.answer} {word}")]
    return rng.choice(CALLED[split]).format(v=value), [
        (_greeting(rng, split), f"Hello, {value}! How can I help you?")
    ]


def system_prompt(rng: random.Random, split: Split) -> Example:
    """A system prompt and answers that keep to it."""
    instruction, turns = draw_instruction(rng, split)
    messages: list[Json] = [system(instruction)]
    for asked, said in turns:
        messages += [user(asked), answer(said)]
    return Example(task="system", messages=messages)


def plain_system(rng: random.Random, split: Split) -> Example:
    """A system prompt that asks for nothing special: the usual answer."""
    if rng.random() < 0.5:
        row = rng.choice(SMALL_TALK)
        asked, said = rng.choice(row[1 if split == "train" else 2]), row[0]
    elif rng.random() < 0.3:
        a, sign, b = draw_pair(rng, split, 2)
        asked, said = question(rng, a, sign, b), reply(a, sign, b, think=False)[0]
    else:
        fact = rng.choice(all_facts())
        asked, said = ask(rng, fact, split), fact.answer
    return Example(task="plain_system", messages=[system(rng.choice(PLAIN)), user(asked), answer(said)])
