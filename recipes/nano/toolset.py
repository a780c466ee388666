"""Invented tools, requests that name them in words, and what they answer."""

from dataclasses import dataclass
from typing import Any, Literal

from recipes.nano.example import Json
from recipes.nano.lexicon import Lexicon

Kind = Literal["string", "integer", "boolean", "enum"]
KINDS: tuple[Kind, ...] = ("string", "string", "string", "string", "integer", "integer", "enum", "boolean")
DESCRIPTIONS = (
    "{Verb} the {noun}.",
    "{Verb} a {noun}.",
    "{verb} the {noun}",
    "{verb} a {noun}",
    "{Verb} {noun}",
    "{verb} {noun}",
    "Use this to {verb} the {noun}.",
    "{Verb} the {noun} of the user.",
    "Tool to {verb} a {noun}.",
)
MORE = ("and return the {}.", "for a {} {}.", "with its {}.", "of a {}. Returns the {}.")
OPENINGS = (
    "{do}.",
    "{do}",
    "{do}",
    "Please {do}.",
    "please {do}",
    "Can you {do}?",
    "can you {do}",
    "Could you {do}?",
    "I want to {do}.",
    "I need to {do}.",
    "{Do}.",
    "{Do}",
    "Now {do}.",
    "I would like you to {do}.",
    "Hey, {do} please.",
    "{do}, please",
)
ACTIONS = ("{verb} the {noun}", "{verb} the {noun}", "{verb} a {noun}", "{verb} my {noun}", "{verb} {noun}")
GIVEN = (
    "{p} {v}",
    "{p} {v}",
    "{p} {v}",
    "{p}: {v}",
    "{p} = {v}",
    "{p} set to {v}",
    "the {p} {v}",
    "{v} as {p}",
    "{v} as the {p}",
)
LINKS = ("with", "with", "with", "using", "and", ",", "where")
IMPLICIT = ("for", "for", "in", "of", "to", "at", "from", "called", "named", "about", "on")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a tool. options: what an enum allows, else empty."""

    name: str
    kind: Kind
    required: bool
    options: tuple[str, ...] = ()
    description: str | None = None


@dataclass(frozen=True)
class Tool:
    """A tool that does `verb` to `noun`."""

    name: str
    verb: str
    noun: str
    description: str
    parameters: tuple[Parameter, ...]

    def schema(self) -> Json:
        """The declaration in OpenAI's shape."""
        properties = {}
        for parameter in self.parameters:
            row: dict[str, Any] = {"type": "string" if parameter.kind == "enum" else parameter.kind}
            if parameter.options:
                row["enum"] = list(parameter.options)
            if parameter.description is not None:
                row["description"] = parameter.description
            properties[parameter.name] = row
        schema: Json = {"type": "object", "properties": properties}
        if required := [p.name for p in self.parameters if p.required]:
            schema["required"] = required
        function = {"name": self.name, "description": self.description, "parameters": schema}
        return {"type": "function", "function": function}


def draw_parameter(lexicon: Lexicon, name: str) -> Parameter:
    """A parameter of some kind."""
    rng = lexicon.rng
    kind = rng.choice(KINDS)
    options = tuple(lexicon.words(rng.choice((2, 3)))) if kind == "enum" else ()
    about = rng.random()
    said = name.replace("_", " ")
    description = f"The {said}." if about < 0.08 else said.capitalize() if about < 0.12 else None
    return Parameter(name, kind, rng.random() < 0.8, options, description)


def draw_tool(lexicon: Lexicon, verb: str, noun: str) -> Tool:
    """A tool for this verb and noun, with 0 to 3 parameters."""
    rng = lexicon.rng
    roll = rng.random()
    name = f"{verb}_{noun}" if roll < 0.84 else f"{noun}_{verb}" if roll < 0.92 else f"{verb}_the_{noun}"
    count = rng.choice((0, 1, 1, 1, 1, 2, 2, 2, 3))
    names: dict[str, None] = {}
    while len(names) < count:
        if (parameter := lexicon.parameter()) not in (verb, noun):
            names[parameter] = None
    text = rng.choice(DESCRIPTIONS).format(verb=verb, Verb=verb.capitalize(), noun=noun)
    if rng.random() < 0.1:
        text = f"{text.rstrip('.')} {rng.choice(MORE).format(*lexicon.words(2))}"
    return Tool(name, verb, noun, text, tuple(draw_parameter(lexicon, p) for p in names))


def draw_tools(lexicon: Lexicon, count: int) -> list[Tool]:
    """As many tools, no two alike; now and then two share the verb or the noun."""
    rng = lexicon.rng
    pairs: dict[tuple[str, str], None] = {}
    while len(pairs) < count:
        verb, noun = lexicon.verb(), lexicon.noun()
        if pairs and (roll := rng.random()) < 0.3:
            known = rng.choice(list(pairs))
            verb, noun = (known[0], noun) if roll < 0.15 else (verb, known[1])
        if verb != noun:
            pairs[verb, noun] = None
    return [draw_tool(lexicon, verb, noun) for verb, noun in pairs]


def draw_value(lexicon: Lexicon, parameter: Parameter) -> Any:
    """A value that the parameter takes."""
    if parameter.kind == "integer":
        return lexicon.number()
    if parameter.kind == "boolean":
        return lexicon.rng.random() < 0.5
    return lexicon.rng.choice(parameter.options) if parameter.kind == "enum" else lexicon.text_value()


def said(lexicon: Lexicon, value: Any) -> str:
    """The value as a person writes it."""
    if value is True or value is False:
        return lexicon.rng.choice((("off", "no", "false"), ("on", "yes", "true"))[value])
    text = str(value)
    return (
        f'"{text}"'
        if isinstance(value, str) and lexicon.rng.random() < (0.5 if " " in text else 0.05)
        else text
    )


def draw_arguments(lexicon: Lexicon, tool: Tool) -> Json:
    """Values for the required parameters and some of the others."""
    given = [p for p in tool.parameters if p.required or lexicon.rng.random() < 0.5]
    return {p.name: draw_value(lexicon, p) for p in given}


def action(lexicon: Lexicon, tool: Tool, arguments: Json) -> str:
    """What to do, in words: 'dim the lamp with level 5 and color red'."""
    rng = lexicon.rng
    text = rng.choice(ACTIONS).format(verb=tool.verb, noun=tool.noun)
    kinds = {p.name: p.kind for p in tool.parameters}
    rest = list(arguments.items())
    rng.shuffle(rest)
    if (
        rest
        and kinds[rest[0][0]] in ("string", "enum")
        and rng.random() < (0.5 if len(tool.parameters) == 1 else 0.0)
    ):
        text += f" {rng.choice(IMPLICIT)} {said(lexicon, rest.pop(0)[1])}"
    parts = [
        rng.choice(GIVEN).format(
            p=name if rng.random() < 0.3 else name.replace("_", " "), v=said(lexicon, value)
        )
        for name, value in rest
    ]
    if parts:
        link = rng.choice(LINKS)
        joined = ", ".join(parts) if rng.random() < 0.3 else " and ".join(parts)
        text += ("," if link == "," else f" {link}") + f" {joined}"
    return text


def request(lexicon: Lexicon, wish: str) -> str:
    """The wish as a user's whole message."""
    return lexicon.rng.choice(OPENINGS).format(do=wish, Do=wish[:1].upper() + wish[1:])
