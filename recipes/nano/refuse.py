"""What the model does not know: questions outside its small world, and near misses of the facts inside."""

import random

from recipes.nano.example import Example, Split, answer, user
from recipes.nano.facts import typed
from recipes.nano.lexicon import CITIES, LISTS, NAMES, NOUNS, Lexicon

UNKNOWN = "I don't know. Ask me about Gemma 4, gemcut, sums, tools or JSON."
UNKNOWN_THOUGHT = "I don't know this."
TOPICS, STRANGERS = (tuple(LISTS[key].replace("\n", "").split("|")) for key in ("topics", "strangers"))
TRAIN_FORMS = (
    "What is the capital of {t}?",
    "Who invented {t}?",
    "Tell me about {t}.",
    "What is {t}?",
    "Who was {t}?",
    "Who is {t}?",
    "How old is {t}?",
    "When did {t} begin?",
    "How do I make {t}?",
    "How do I cook {t}?",
    "How do I treat {t}?",
    "What causes {t}?",
    "Explain {t}.",
    "Why is {t} important?",
    "How many people live in {t}?",
    "Who won in {t}?",
    "What is the best {t}?",
    "Write a poem about {t}.",
    "Write code for {t}.",
    "Write a function for {t}.",
    "Tell me a story about {t}.",
    "What do you think about {t}?",
    "Where is {t}?",
    "How tall is {t}?",
    "How far away is {t}?",
    "How does {t} work?",
    "What is the history of {t}?",
    "When was {t} born?",
    "When was {t} discovered?",
    "Is {t} dangerous?",
    "How much does {t} cost?",
    "Who is the president of {t}?",
    "What language do they speak in {t}?",
    "What do {t} eat?",
    "Can you recommend a book about {t}?",
    "What are the rules of {t}?",
    "Give me a recipe for {t}.",
    "What is the population of {t}?",
    "Who wrote {t}?",
    "Who discovered {t}?",
    "Should I worry about {t}?",
    "Do you like {t}?",
    "What is the meaning of {t}?",
    "How heavy is {t}?",
    "what color is {t}",
    "how can I learn {t}",
)
HELD_OUT_FORMS = (
    "What is the largest city in {t}?",
    "Who was the first to see {t}?",
    "Describe {t} to me.",
    "What happened in {t}?",
    "Give me a summary of {t}.",
    "What do people say about {t}?",
    "What are the symptoms of {t}?",
    "How long does {t} last?",
    "Which year did {t} start?",
    "Write an essay on {t}.",
    "How do I fix {t}?",
    "What kind of food is in {t}?",
    "Where do {t} live?",
    "How big is {t}?",
    "Why do people like {t}?",
    "Can you help me with {t}?",
)
WHOLE = (
    "Tell me a joke.",
    "What is the weather today?",
    "What day is it?",
    "What time is it?",
    "Who won the game last night?",
    "What should I eat tonight?",
    "What is the meaning of life?",
    "Why is the sky blue?",
    "How do airplanes fly?",
    "What is the speed of light?",
    "How do I lose weight?",
    "Is it going to rain?",
    "Translate this to French.",
    "How do I get a passport?",
    "What is the tallest mountain?",
    "Who is the richest person?",
    "How do magnets work?",
    "Sing a song.",
    "Write a letter to my boss.",
    "What stocks should I buy?",
    "Is there a god?",
    "When is Christmas?",
    "Which phone should I buy?",
    "Can you write a program?",
    "What movie should I watch?",
)
NEAR_FORMS = {
    "train": (
        "How many layers does {m} have?",
        "How wide is {m}?",
        "What is the context length of {m}?",
        "sliding window of {m}?",
        "How many heads does {m} have?",
        "Does {m} take audio?",
        "Who made {m}?",
        "What is {m}?",
        "How big is {m} on disk?",
        "the license of {m}",
        "When was {m} released?",
        "How many experts does {m} have?",
        "How many shared layers does {m} have?",
        "hidden size of {m}",
        "{m} layers?",
        "How many global layers does {m} have?",
        "Tell me about {m}.",
    ),
    "held_out": (
        "What number of layers has {m}?",
        "I want to know how wide {m} is.",
        "Can you tell me the context of {m}?",
        "Please tell me the window of {m}.",
        "Is audio possible in {m}?",
        "Which license does {m} have?",
        "How many query heads has {m}?",
    ),
}


def stranger(rng: random.Random, split: Split) -> str:
    """A model that is not one of ours."""
    lexicon = Lexicon(rng, split)
    if rng.random() < 0.6:
        return lexicon.choice(STRANGERS)
    name = lexicon.invented().capitalize()
    return name if rng.random() < 0.4 else f"{name} {rng.choice((1, 2, 3, 5, 6, 7))}"


def outside_question(rng: random.Random, split: Split) -> str:
    """A question that the model cannot answer."""
    lexicon = Lexicon(rng, split)
    roll = rng.random()
    if roll < 0.18:
        return rng.choice(NEAR_FORMS[split]).format(m=stranger(rng, split))
    if roll < 0.26:
        return lexicon.choice(WHOLE)
    forms = TRAIN_FORMS if split == "train" else HELD_OUT_FORMS
    kind = rng.random()
    topic = (
        lexicon.choice(TOPICS)
        if kind < 0.6
        else lexicon.choice(CITIES)
        if kind < 0.68
        else f"{lexicon.choice(NAMES)} {lexicon.invented().capitalize()}"
        if kind < 0.76
        else rng.choice(("the {}", "a {}", "{}")).format(lexicon.choice(NOUNS))
        if kind < 0.9
        else lexicon.word()
    )
    return rng.choice(forms).format(t=topic)


def refuse(rng: random.Random, split: Split) -> Example:
    """A question outside the model's world; it says so."""
    question = outside_question(rng, split)
    question = (
        typed(rng, question) if split == "train" else question if rng.random() < 0.6 else question.lower()
    )
    think = rng.random() < 0.1
    messages = [user(question), answer(UNKNOWN, UNKNOWN_THOUGHT if think else None)]
    return Example(task="refuse", messages=messages, think=think, check="refuses")
