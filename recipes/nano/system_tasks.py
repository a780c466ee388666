"""A system prompt's simple instruction, kept."""

import random

from recipes.nano.arithmetic import draw_pair, question, reply, result
from recipes.nano.example import Example, Json, Split, answer, system, user
from recipes.nano.facts import all_facts, ask, single_facts
from recipes.nano.lexicon import Lexicon
from recipes.nano.talk import SMALL_TALK

UPPER = {
    "train": (
        "Answer in upper case.",
        "Write everything in capital letters.",
        "Use upper case only.",
        "Answer only in capitals.",
        "ALWAYS ANSWER IN UPPER CASE",
        "You write in upper case.",
        "All your answers are in upper case letters.",
        "Please answer in capital letters.",
        "Reply in capitals.",
    ),
    "held_out": ("Reply in upper case.", "Always write in capital letters.", "Use only capitals."),
}
LOWER = {
    "train": (
        "Answer in lower case.",
        "Use lower case only.",
        "Write everything in small letters.",
        "You write in lower case.",
        "All your answers are in lower case letters.",
        "Reply in small letters.",
    ),
    "held_out": ("Reply in lower case.", "Always write in small letters.", "Use only lower case letters."),
}
ONE_WORD = {
    "train": (
        "Answer with one word.",
        "Answer in one word.",
        "Use only one word.",
        "One word answers only.",
        "Reply with a single word.",
        "Give one word as the answer.",
        "Your answers are one word long.",
        "Answer with just a word.",
        "Be extremely brief: one word.",
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
        "Greet the user in {l}.",
        "Say hello in {l}.",
        "Greet in {l}.",
        "Your greeting is in {l}.",
        "When the user says hello, answer in {l}.",
        "Use {l} to greet the user.",
        "Greet people in {l}.",
        "You are friendly and greet in {l}.",
        "Answer a greeting in {l}.",
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
        'End every answer with "{v}".',
        "End each answer with {v}.",
        "Always end with {v}.",
        "Finish with {v}.",
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


def draw_instruction(rng: random.Random, split: Split) -> tuple[str, list[tuple[str, str]]]:
    """A system prompt, and questions with the answers that keep to it."""
    lexicon = Lexicon(rng, split)
    roll = rng.random()
    count = rng.choice((1, 1, 2))
    if roll < 0.27:
        return rng.choice(UPPER[split]), [_case(rng, split, upper=True) for _ in range(count)]
    if roll < 0.33:
        return rng.choice(LOWER[split]), [_case(rng, split, upper=False) for _ in range(count)]
    if roll < 0.58:
        return rng.choice(ONE_WORD[split]), [_one_word(rng, split) for _ in range(count)]
    if roll < 0.83:
        language = rng.choice(list(LANGUAGES))
        turns = [(_greeting(rng, split), LANGUAGES[language])]
        if rng.random() < 0.2:
            fact = rng.choice(all_facts())
            turns.append((ask(rng, fact, split), fact.answer))
        return rng.choice(GREET[split]).format(l=language), turns
    value = lexicon.name()
    if roll < 0.89:
        row = SMALL_TALK[1]
        return rng.choice(PERSONA[split]).format(v=value), [
            (rng.choice(row[1 if split == "train" else 2]), f"I am {value}.")
        ]
    if roll < 0.95:
        word = lexicon.word()
        fact = rng.choice(SPOKEN_ALOUD)
        return rng.choice(ENDING[split]).format(v=word), [(ask(rng, fact, split), f"{fact.answer} {word}")]
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
