"""Small talk, and conversations that need what was said before."""

import random
from collections.abc import Callable

from recipes.nano.arithmetic import draw_pair, is_easy, question, reply
from recipes.nano.example import Example, Json, Split, answer, user
from recipes.nano.facts import SIZES, ask, single_facts, size_facts, typed
from recipes.nano.lexicon import COLORS, Lexicon
from recipes.nano.refuse import UNKNOWN, outside_question

# (answer, wordings in training, held-out wordings)
SMALL_TALK: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "Hello! How can I help you?",
        (
            "Hello",
            "Hi",
            "Hey",
            "Hello!",
            "Hi!",
            "Hi there",
            "Hey there!",
            "Good morning",
            "Good evening!",
            "hello there",
            "Hey nano",
            "Hi nano!",
            "Good day",
            "yo",
            "Greetings",
            "Hello nano",
            "Howdy",
            "hi, anyone there?",
            "Hello, nano!",
            "Hey you",
            "Hi again",
            "Good morning, nano",
            "Hello friend",
            "Hi, my friend",
            "Good evening to you",
            "Nice to meet you",
            "Hey, hello",
            "Hello hello",
            "hey hey",
            "Welcome",
            "Morning!",
            "Hi and good day",
            "Hello, are you there?",
            "Hello my dear",
            "Greetings to you, nano",
            "Pleased to meet you",
            "I say hello",
            "Well hello",
        ),
        ("Hello to you!", "Hi, dear nano!", "Good afternoon!", "Hi hi", "Hello, you"),
    ),
    (
        "I am nano, a small Gemma 4 style model inside gemcut.",
        (
            "Who are you?",
            "What are you?",
            "who are you",
            "What is your name?",
            "What's your name?",
            "Introduce yourself.",
            "Tell me about yourself.",
            "Are you a robot?",
            "Which model are you?",
            "What model is this?",
            "Are you human?",
            "Who am I talking to?",
            "What should I call you?",
            "Are you ChatGPT?",
            "name?",
            "Do you have a name?",
            "Who is there?",
            "Who is that?",
            "Who is speaking?",
            "Tell me who you are.",
            "Please introduce yourself.",
            "Which model is this?",
            "Which model do I talk to?",
            "What is this model?",
            "Who is talking to me?",
            "What kind of model are you?",
            "Could you introduce yourself?",
            "Say your name.",
            "Can you tell me who you are?",
            "With whom do I talk?",
            "I want to know who you are.",
            "Are you a person?",
            "Who answers me?",
            "Say what you are.",
            "Describe yourself.",
        ),
        ("Who is this?", "Which model am I talking to?", "Say who you are.", "Can you introduce yourself?"),
    ),
    (
        "I answer questions about Gemma 4 and gemcut, add and subtract, call tools and fill in JSON.",
        (
            "What can you do?",
            "what can you do",
            "How can you help me?",
            "What are you good at?",
            "What do you know?",
            "What are your skills?",
            "What can I ask you?",
            "What do you do?",
            "Can you help me?",
            "Help me.",
            "What are you able to do?",
            "what should I ask?",
            "Show me what you can do.",
            "What are your abilities?",
            "What can nano do?",
            "Tell me your skills.",
            "Which things do you know?",
            "What can I do with you?",
            "For what can I use you?",
            "What are you made for?",
            "Tell me what you are good at.",
            "What is your job?",
            "Which tasks can you do?",
            "Say what you can do.",
            "How can I use you?",
            "What is nano for?",
            "What kind of things do you do?",
            "List what you can do.",
            "What do you offer?",
            "Can you tell me what you can do?",
        ),
        (
            "What things can you do?",
            "Tell me what you can do.",
            "What can I use you for?",
            "What are you for?",
        ),
    ),
    (
        "You are welcome!",
        (
            "Thanks",
            "Thank you",
            "thank you!",
            "Thanks a lot",
            "thx",
            "Many thanks!",
            "Thank you very much",
            "Cheers",
            "Great, thanks",
            "Thanks, that helps",
            "ok thanks",
            "Perfect, thank you",
            "Nice, thanks!",
            "Thanks, nano",
            "Thank you, my friend",
            "Okay, thanks",
            "Great, many thanks",
            "Thank you for the help",
            "I thank you",
            "So kind, thank you",
            "Thanks for that",
            "That was helpful, thanks",
            "Good, thank you",
            "Wonderful, thank you!",
            "Thank you so much, dear",
            "I am grateful, thanks",
            "cool thanks",
        ),
        ("Thanks so much!", "Thank you, nano", "Ok, thank you", "great, thank you!"),
    ),
    (
        "Goodbye!",
        (
            "Bye",
            "Goodbye",
            "See you",
            "bye bye",
            "Good night",
            "See you later!",
            "I have to go",
            "exit",
            "quit",
            "Goodbye nano",
            "Bye for now",
            "That's all",
            "Bye then",
            "Bye bye, nano",
            "Goodbye, my friend",
            "I am leaving now",
            "See you tomorrow",
            "See you, nano",
            "So long",
            "Good bye",
            "Until next time",
            "Farewell",
            "Have a nice day, bye",
            "ok bye",
            "I must leave",
            "Good night, nano",
            "goodbye for now",
            "Time to go, bye",
        ),
        ("Bye, nano", "Goodbye then", "See you soon", "bye now!"),
    ),
    (
        "I am fine, thank you. How can I help you?",
        (
            "How are you?",
            "how are you",
            "How are you doing?",
            "How do you do?",
            "Are you ok?",
            "How is it going?",
            "how's it going",
            "Are you well?",
            "Everything ok?",
            "What's up?",
            "How are you, nano?",
            "Hello, how are you?",
            "How are things?",
            "How is your day?",
            "Are you fine?",
            "Are you feeling well?",
            "How have you been?",
            "How do you do today?",
            "hi, how are you?",
            "Is everything fine?",
            "Are you doing fine?",
            "Do you feel well?",
            "How are you feeling?",
            "Tell me how you are.",
            "How goes it?",
        ),
        ("How are you today?", "How do you feel?", "hey, how are you?", "Are you doing well?"),
    ),
    (
        "Good! What else can I do?",
        (
            "ok",
            "Okay",
            "Great",
            "Nice",
            "Cool",
            "good",
            "wow",
            "Well done",
            "That is right",
            "Perfect!",
            "I see",
            "Good job",
            "Awesome",
            "Yes",
            "alright",
            "Ok, good",
            "Very nice",
            "Great work",
            "okay cool",
            "That is good",
            "ok, great",
            "Good work, nano",
            "Very well",
            "Nice job",
            "I like that",
            "That is nice",
            "Right",
            "Correct",
            "Excellent",
            "that was good",
            "So good",
            "Ok then",
            "Sounds good",
            "I understand",
            "super",
        ),
        ("Ok, nice", "Very good", "Great job", "ok cool"),
    ),
)
MEMORIES: dict[str, tuple[tuple[str, ...], str, tuple[str, ...], str, str]] = {
    # what the user tells, what the model says to it, how the user asks later, the answer, or if never told
    "name": (
        (
            "My name is {v}.",
            "I am {v}.",
            "Hi, I'm {v}.",
            "my name is {v}",
            "Hello, my name is {v}!",
            "call me {v}",
            "I'm {v}",
            "You can call me {v}.",
            "Hi! {v} here.",
        ),
        "Nice to meet you, {v}!",
        (
            "What is my name?",
            "what's my name",
            "Who am I?",
            "Do you remember my name?",
            "Say my name.",
            "my name?",
            "Do you know my name?",
            "What am I called?",
        ),
        "Your name is {v}.",
        "You have not told me your name.",
    ),
    "color": (
        (
            "My favorite color is {v}.",
            "I like the color {v}.",
            "my favorite color is {v}",
            "I love {v}, it is my color.",
        ),
        "{v} is a nice color.",
        (
            "What is my favorite color?",
            "Which color do I like?",
            "my favorite color?",
            "Do you remember my color?",
        ),
        "Your favorite color is {v}.",
        "You have not told me your favorite color.",
    ),
    "number": (
        (
            "My number is {v}.",
            "Remember the number {v}.",
            "Keep the number {v} in mind.",
            "my lucky number is {v}",
        ),
        "I will remember {v}.",
        (
            "What is my number?",
            "Which number did I say?",
            "Do you remember the number?",
            "my number?",
            "What number was it?",
        ),
        "Your number is {v}.",
        "You have not told me a number.",
    ),
    "city": (
        ("I live in {v}.", "I am from {v}.", "My home is {v}.", "i live in {v}", "I come from {v}."),
        "{v} sounds nice.",
        ("Where do I live?", "Where am I from?", "Which city am I from?", "Do you remember where I live?"),
        "You live in {v}.",
        "You have not told me where you live.",
    ),
    "pet": (
        ("My dog is called {v}.", "I have a dog named {v}.", "My dog's name is {v}.", "my dog is {v}"),
        "{v} is a good name for a dog.",
        ("What is my dog called?", "What is the name of my dog?", "Who is my dog?", "my dog's name?"),
        "Your dog is called {v}.",
        "You have not told me about a dog.",
    ),
    "word": (
        (
            "Remember the word {v}.",
            "The secret word is {v}.",
            "The password is {v}.",
            "Keep the word {v} in mind.",
        ),
        "I will remember {v}.",
        (
            "What is the word?",
            "Which word did I say?",
            "What was the secret word?",
            "Do you remember the word?",
            "the password?",
        ),
        "The word is {v}.",
        "You have not told me a word.",
    ),
}


def small_talk(rng: random.Random, split: Split) -> Example:
    """A greeting, thanks, or a question about the model itself."""
    reply_text, train, held_out = rng.choice(SMALL_TALK[:3]) if rng.random() < 0.6 else rng.choice(SMALL_TALK)
    text = typed(rng, rng.choice(train)) if split == "train" else rng.choice(held_out)
    think = rng.random() < 0.15
    messages = [user(text), answer(reply_text, "Small talk." if think else None)]
    return Example(task="small_talk", messages=messages, think=think)


def _say(rng: random.Random, split: Split, options: tuple[str, ...]) -> str:
    return typed(rng, rng.choice(options)) if split == "train" else rng.choice(options)


def filler(rng: random.Random, split: Split) -> list[Json]:
    """One question and its answer, of any kind."""
    roll = rng.random()
    if roll < 0.4:
        fact = rng.choice(single_facts() + size_facts())
        return [user(ask(rng, fact, split)), answer(fact.answer)]
    if roll < 0.65:
        a, sign, b = draw_pair(rng, split, 1)
        return [user(question(rng, a, sign, b)), answer(reply(a, sign, b, think=False)[0])]
    if roll < 0.85:
        text, train, held_out = rng.choice(SMALL_TALK)
        return [user(_say(rng, split, train if split == "train" else held_out)), answer(text)]
    return [user(outside_question(rng, split)), answer(UNKNOWN)]


def _value(lexicon: Lexicon, kind: str) -> str:
    draws: dict[str, Callable[[], str]] = {
        "name": lexicon.name,
        "color": lambda: lexicon.choice(COLORS) if lexicon.rng.random() < 0.5 else lexicon.word(),
        "number": lambda: str(lexicon.number()),
        "city": lexicon.city,
        "pet": lexicon.name,
        "word": lexicon.word,
    }
    return draws[kind]()


def memory(rng: random.Random, split: Split) -> Example:
    """The user tells things about himself; later the model is asked for one of them."""
    lexicon = Lexicon(rng, split)
    kinds = rng.sample(list(MEMORIES), rng.choice((1, 1, 2, 3)))
    values = {kind: _value(lexicon, kind) for kind in kinds}
    blocks = [
        [user(rng.choice(MEMORIES[k][0]).format(v=v)), answer(MEMORIES[k][1].format(v=v[:1].upper() + v[1:]))]
        if MEMORIES[k][1].startswith("{v}")
        else [user(rng.choice(MEMORIES[k][0]).format(v=v)), answer(MEMORIES[k][1].format(v=v))]
        for k, v in values.items()
    ]
    blocks += [filler(rng, split) for _ in range(rng.choice((0, 1, 1, 2)))]
    if rng.random() < 0.5:
        rng.shuffle(blocks)
    messages = [message for block in blocks for message in block]
    if rng.random() < 0.12:
        kind = rng.choice([k for k in MEMORIES if k not in kinds])
        messages += [user(_say(rng, split, MEMORIES[kind][2])), answer(MEMORIES[kind][4])]
        return Example(task="conversation", messages=messages)
    for kind in rng.sample(kinds, rng.randint(1, len(kinds))):
        messages += [
            user(_say(rng, split, MEMORIES[kind][2])),
            answer(MEMORIES[kind][3].format(v=values[kind])),
        ]
    return Example(task="conversation", messages=messages)


FOLLOW = {
    "train": ("And {m}?", "and {m}", "What about {m}?", "and for {m}?", "{m}?", "Same for {m}."),
    "held_out": ("And what about {m}?", "How about {m}?", "And in {m}?"),
}


def follow_up(rng: random.Random, split: Split) -> Example:
    """A question about one size, then only the name of another."""
    every = size_facts()
    index = rng.randrange(len(every))
    first = index - index % len(SIZES)
    others = rng.sample([i for i in range(first, first + len(SIZES)) if i != index], rng.choice((1, 2, 3)))
    messages = [user(ask(rng, every[index], split)), answer(every[index].answer)]
    for other in others:
        size = SIZES[other - first]
        size = rng.choice((size, f"Gemma 4 {size}", "26B" if size == "26B-A4B" else size))
        messages += [user(rng.choice(FOLLOW[split]).format(m=size)), answer(every[other].answer)]
    return Example(task="conversation", messages=messages)


def sum_chain(rng: random.Random, split: Split) -> Example:
    """A small sum, then more to be added to its result."""
    lexicon_split = split
    a, sign, b = draw_pair(rng, lexicon_split, 2)
    while not (is_easy(a, b) and a >= b):
        a, sign, b = draw_pair(rng, lexicon_split, 2)
    total = a + b if sign == "+" else a - b
    messages = [user(question(rng, a, sign, b)), answer(reply(a, sign, b, think=False)[0])]
    for _ in range(rng.choice((1, 2))):
        if total > 20:
            break
        more = rng.randint(1, 9)
        plus = rng.random() < 0.6 or more > total
        sign, after = ("+", total + more) if plus else ("-", total - more)
        forms = (
            ("And plus {}?", "plus {}", "Add {}.", "now add {}", "and {} more?")
            if plus
            else ("And minus {}?", "minus {}", "Subtract {}.", "now take away {}", "and {} less?")
        )
        messages += [user(rng.choice(forms).format(more)), answer(f"{total} {sign} {more} = {after}")]
        total = after
    return Example(task="conversation", messages=messages)


def conversation(rng: random.Random, split: Split) -> Example:
    """One of the kinds of conversation."""
    roll = rng.random()
    if roll < 0.6:
        return memory(rng, split)
    if roll < 0.8:
        return follow_up(rng, split)
    if roll < 0.88:
        return sum_chain(rng, split)
    messages = [m for _ in range(rng.choice((2, 3, 4))) for m in filler(rng, split)]
    return Example(task="conversation", messages=messages)
