"""Sums and differences, worked out digit by digit, units first."""

import random
from zlib import crc32

from recipes.nano.example import Example, Split, answer, user

PLUS = (
    "What is {a} + {b}?",
    "{a} + {b}",
    "{a}+{b}",
    "{a} + {b} = ?",
    "add {a} and {b}",
    "Add {a} and {b}.",
    "What is {a} plus {b}?",
    "what's {a} + {b}",
    "How much is {a} + {b}?",
    "{a} plus {b}",
    "Compute {a} + {b}.",
    "What is the sum of {a} and {b}?",
    "Calculate {a}+{b}",
    "Please add {a} to {b}.",
    "what is {a}+{b}?",
)
MINUS = (
    "What is {a} - {b}?",
    "{a} - {b}",
    "{a}-{b}",
    "{a} - {b} = ?",
    "subtract {b} from {a}",
    "Subtract {b} from {a}.",
    "What is {a} minus {b}?",
    "what's {a} - {b}",
    "How much is {a} - {b}?",
    "{a} minus {b}",
    "Compute {a} - {b}.",
    "What is the difference of {a} and {b}?",
    "Calculate {a}-{b}",
    "Take {b} from {a}.",
    "what is {a}-{b}?",
)


def pair_split(a: int, sign: str, b: int) -> Split:
    """The space that the pair of operands belongs to."""
    return "held_out" if crc32(f"{a}{sign}{b}".encode()) % 10 == 0 else "train"


def draw_pair(rng: random.Random, split: Split, digits: int) -> tuple[int, str, int]:
    """Two operands of at most so many digits, short ones as likely as long ones, and the sign."""
    while True:
        a, b = (rng.randrange(10 ** rng.randint(1, digits)) for _ in range(2))
        if digits == 3 and rng.random() < 0.4:
            a, b = rng.randrange(100, 1000), rng.randrange(100, 1000)
        sign = rng.choice("+-")
        if pair_split(a, sign, b) == split:
            return a, sign, b


def _digits(number: int) -> list[int]:
    return [number // 10**i % 10 for i in range(3)]  # units first


def working(a: int, sign: str, b: int) -> str:
    """The digits' sums or differences with what is carried, units first, then the result.

    345 + 278: '345+278: 5+8+0=13,4+7+1=12,3+2+1=06: 0623: 623'
    345 - 278: '345-278: 5-8-0=17,4-7-1=16,3-2-1=00: 067: 67'
    The first digit after = says what is carried, or whether one was borrowed.
    """
    if sign == "-" and a < b:
        return f"{a:03d}<{b:03d}: {working(b, '-', a)}: -{b - a}"
    steps, carried, written = [], 0, ""
    for x, y in zip(_digits(a), _digits(b), strict=True):
        value = x + y + carried if sign == "+" else x - y - carried
        before, carried = carried, (value >= 10) if sign == "+" else (value < 0)
        carried = int(carried)
        steps.append(f"{x}{sign}{y}{sign}{before}={carried}{value % 10}")
        written = str(value % 10) + written
    written = f"{carried}{written}" if sign == "+" else written
    return f"{a:03d}{sign}{b:03d}: {','.join(steps)}: {written}: {int(written)}"


def result(a: int, sign: str, b: int) -> int:
    """The sum or the difference."""
    return a + b if sign == "+" else a - b


def is_easy(a: int, b: int) -> bool:
    """Whether the model says the result at once, without working it out."""
    return a <= 20 and b <= 20


def reply(a: int, sign: str, b: int, think: bool) -> tuple[str, str | None]:
    """The answer and the thought. Without thinking a hard one is worked out in the answer itself."""
    said = f"{a} {sign} {b} = {result(a, sign, b)}"
    if think:
        return said, working(a, sign, b)
    return (said, None) if is_easy(a, b) else (f"{working(a, sign, b)}, so {said}", None)


def question(rng: random.Random, a: int, sign: str, b: int) -> str:
    """The sum as a person asks for it."""
    return rng.choice(PLUS if sign == "+" else MINUS).format(a=a, b=b)


def arithmetic(rng: random.Random, split: Split) -> Example:
    """A sum with thinking on."""
    a, sign, b = draw_pair(rng, split, 3)
    text, thought = reply(a, sign, b, think=True)
    messages = [user(question(rng, a, sign, b)), answer(text, thought)]
    wanted = (f"= {result(a, sign, b)}",)
    return Example(task="arithmetic", messages=messages, think=True, check="contains", wanted=wanted)


def quick_sum(rng: random.Random, split: Split) -> Example:
    """A sum without thinking: small ones at once, others worked out in the answer."""
    small = rng.random() < 0.6
    a, sign, b = draw_pair(rng, split, 2 if small else 3)
    if small:
        while not (is_easy(a, b) and pair_split(a, sign, b) == split):
            a, b, sign = rng.randint(0, 20), rng.randint(0, 20), rng.choice("+-")
    text, _ = reply(a, sign, b, think=False)
    messages = [user(question(rng, a, sign, b)), answer(text)]
    return Example(task="quick_sum", messages=messages, check="contains", wanted=(f"= {result(a, sign, b)}",))
