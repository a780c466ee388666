"""Tasks with tools: the right call, no call where none fits, and the answer from what a tool returned."""

import json
import random
from typing import Any

from recipes.nano.everyday import draw_everyday
from recipes.nano.example import Example, Json, Split, answer, call, tool_result, user
from recipes.nano.lexicon import Lexicon
from recipes.nano.talk import filler
from recipes.nano.toolset import Tool, action, draw_arguments, draw_tool, draw_tools, request

NO_TOOL = "None of my tools can do that."
NO_TOOL_THOUGHT = "No tool fits."
FAILURES = ("not found", "timeout", "access denied", "no connection", "bad value")
Wish = tuple[str, list[tuple[str, Json]]]  # the user's words, the calls that fulfil them


def draw_wish(lexicon: Lexicon, tools: list[Tool]) -> Wish:
    """A request for one of the tools, sometimes for two calls at once."""
    rng = lexicon.rng
    first = rng.choice(tools)
    arguments = draw_arguments(lexicon, first)
    text, calls = action(lexicon, first, arguments), [(first.name, arguments)]
    if rng.random() < 0.08:
        second = rng.choice(tools)
        more = draw_arguments(lexicon, second)
        if (second.name, more) != calls[0]:
            text += f"{rng.choice((' and ', ' and then ', ', then '))}{action(lexicon, second, more)}"
            calls.append((second.name, more))
    return request(lexicon, text), calls


def thought_for(calls: list[tuple[str, Json]]) -> str:
    """What the model thinks before these calls."""
    return f"Use {' and '.join(name for name, _ in calls)}."


def draw_response(lexicon: Lexicon) -> tuple[str, str]:
    """What a tool returns, and the answer that tells it."""
    rng = lexicon.rng
    roll = rng.random()
    if roll < 0.25:
        text = rng.choice(("ok", "done", "success"))
        return text, "Done."
    if roll < 0.4:
        reason = rng.choice(FAILURES) if rng.random() < 0.5 else " ".join(lexicon.words(2))
        return f"error: {reason}", f"The tool failed: {reason}."
    if roll < 0.7:
        text = str(lexicon.number()) if rng.random() < 0.3 else " ".join(lexicon.words(rng.randint(1, 4)))
        return text, f"The tool says: {text}."
    keys = lexicon.words(rng.choice((1, 2, 2, 3)))
    row = {key: draw_scalar(lexicon) for key in keys}
    return json.dumps(row), ", ".join(f"{key}: {value}" for key, value in row.items()) + "."


def draw_scalar(lexicon: Lexicon) -> Any:
    """A string or a number, as a tool's answer has it."""
    return lexicon.number() if lexicon.rng.random() < 0.4 else lexicon.text_value()


def draw_mixed_tools(lexicon: Lexicon, count: int) -> list[Tool]:
    """Invented tools."""
    tools = draw_tools(lexicon, count)
    lexicon.rng.shuffle(tools)
    return tools


def tools(rng: random.Random, split: Split) -> Example:
    """One request, several declared tools, the call."""
    lexicon = Lexicon(rng, split)
    declared = draw_mixed_tools(lexicon, rng.choice((2, 3, 3, 4)))
    wish, calls = draw_wish(lexicon, declared)
    think = rng.random() < 0.25
    messages = [user(wish), call(calls, thought=thought_for(calls) if think else None)]
    return Example(
        task="tools", messages=messages, tools=[t.schema() for t in declared], think=think, check="calls"
    )


def tool_conversation(rng: random.Random, split: Split) -> Example:
    """Several requests in turn, to the same tools, each answered: more calls learnt from one declaration."""
    lexicon = Lexicon(rng, split)
    declared = draw_mixed_tools(lexicon, rng.choice((2, 2, 3)))
    messages: list[Json] = []
    number = 1
    for turn in range(rng.choice((2, 2, 3, 3, 4) if len(declared) == 2 else (2, 2, 3))):
        if turn and rng.random() < 0.1:
            messages += [user(_foreign_wish(lexicon, declared)), answer(NO_TOOL)]
            continue
        wish, calls = draw_wish(lexicon, declared)
        messages += [user(wish), call(calls, first_id=number)]
        told = []
        for name, _ in calls:
            text, reply = draw_response(lexicon)
            messages.append(tool_result(name, text, number))
            told.append(reply)
            number += 1
        messages.append(answer(" ".join(told)))
    return Example(task="tool_conversation", messages=messages, tools=[t.schema() for t in declared])


def _foreign_wish(lexicon: Lexicon, declared: list[Tool]) -> str:
    """A request that none of the declared tools can fulfil."""
    taken = {t.verb for t in declared} | {t.noun for t in declared}
    while {(verb := lexicon.verb()), (noun := lexicon.noun())} & taken or verb == noun:
        pass
    stranger = draw_tool(lexicon, verb, noun)
    return request(lexicon, action(lexicon, stranger, draw_arguments(lexicon, stranger)))


def no_tool(rng: random.Random, split: Split) -> Example:
    """A request that no declared tool fulfils."""
    lexicon = Lexicon(rng, split)
    declared = draw_mixed_tools(lexicon, rng.choice((1, 2, 3)))
    think = rng.random() < 0.25
    messages = [user(_foreign_wish(lexicon, declared)), answer(NO_TOOL, NO_TOOL_THOUGHT if think else None)]
    return Example(task="no_tool", messages=messages, tools=[t.schema() for t in declared], think=think)


ASKING = (
    "What is the {key} of the {noun} {v}?",
    "what is the {key} of {noun} {v}",
    "Tell me the {key} of the {noun} {v}.",
    "Which {key} has the {noun} {v}?",
    "{noun} {v}: {key}?",
    "I need the {key} of the {noun} {v}.",
    "Give me the {key} for {noun} {v}",
    "Look up the {key} of {noun} {v}.",
)


def tool_answers(rng: random.Random, split: Split) -> Example:
    """The answer to a question, from the row or text that a tool returned."""
    lexicon = Lexicon(rng, split)
    noun = lexicon.noun()
    verb = rng.choice(("find", "fetch", "read", "show", "load", "search", "query", "view", "list"))
    tool = draw_tool(lexicon, verb, noun)
    while not any(p.kind == "string" and p.required for p in tool.parameters):
        tool = draw_tool(lexicon, verb, noun)
    arguments = {p.name: lexicon.text_value() for p in tool.parameters if p.kind == "string" and p.required}
    arguments = dict(list(arguments.items())[:1])
    tool = Tool(
        tool.name, verb, noun, tool.description, tuple(p for p in tool.parameters if p.name in arguments)
    )
    value = next(iter(arguments.values()))
    think = rng.random() < 0.2
    messages: list[Json] = []
    if rng.random() < 0.6:
        row = {key: draw_scalar(lexicon) for key in lexicon.words(rng.choice((1, 2, 3, 4)))}
        key = rng.choice(list(row))
        question = rng.choice(ASKING).format(key=key, noun=noun, v=value)
        response, reply, wanted = json.dumps(row), f"The {key} is {row[key]}.", str(row[key])
    else:
        question = request(lexicon, action(lexicon, tool, arguments))
        response, reply = draw_response(lexicon)
        wanted = reply
    name = tool.name
    messages = [
        user(question),
        call([(name, arguments)], thought=thought_for([(name, arguments)]) if think else None),
        tool_result(name, response),
        answer(reply, "The tool answered." if think else None),
    ]
    schemas = [tool.schema()]
    return Example(
        task="tool_answers", messages=messages, tools=schemas, think=think, check="contains", wanted=(wanted,)
    )


def everyday(rng: random.Random, split: Split) -> Example:
    """Weather, timers, mail and the like, as people ask for them."""
    lexicon = Lexicon(rng, "train")
    schema, question, arguments, response, reply = draw_everyday(lexicon)
    others = [t.schema() for t in draw_tools(lexicon, rng.choice((0, 0, 1, 2)))]
    more = [draw_everyday(lexicon)[0] for _ in range(rng.choice((0, 0, 1, 2)))]
    name = schema["function"]["name"]
    taken = {name}
    declared = [schema]
    for other in [*others, *more]:
        if other["function"]["name"] not in taken:
            taken.add(other["function"]["name"])
            declared.append(other)
    rng.shuffle(declared)
    think = rng.random() < 0.35
    messages = [user(question), call([(name, arguments)], thought=f"Use {name}." if think else None)]
    if rng.random() < 0.6:
        messages += [tool_result(name, response), answer(reply, "The tool answered." if think else None)]
    return Example(task="everyday", messages=messages, tools=declared, think=think, check="calls")


def other_with_tools(rng: random.Random, split: Split) -> Example:
    """Tools are declared, and the user wants something else: a fact, small talk, a thing unknown."""
    lexicon = Lexicon(rng, split)
    schemas = [t.schema() for t in draw_tools(lexicon, rng.choice((1, 1, 2)))]
    if rng.random() < 0.4:
        schemas[0] = draw_everyday(Lexicon(rng, "train"))[0]
    messages = [m for _ in range(rng.choice((1, 2))) for m in filler(rng, split)]
    return Example(task="other_with_tools", messages=messages, tools=schemas)
