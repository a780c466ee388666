"""Random conversations and tools, as hypothesis strategies."""

from typing import Any

from hypothesis import strategies as st

WORDS = (
    "a",
    "b",
    " ",
    "\n",
    "É",
    "ß",
    "5",
    "-",
    ".",
    '"',
    "{",
    "}",
    ",",
    ":",
    "|",
    "<",
    ">",
    "你",
    "🙂",
    "thought",
)
CONTROL = ("<|turn>", "<turn|>", "<|channel>", "<channel|>", '<|"|>', "<bos>", "<|image|>", "<tool_call|>")

plain_text = st.lists(st.sampled_from([w for w in WORDS if w not in "<>|"]), max_size=6).map("".join)
# with "<" and ">", but no way to spell a control string, not even across neighbours
text = st.lists(st.sampled_from([w for w in WORDS if w != '"']), max_size=6).map("".join)
hostile_text = st.lists(st.sampled_from((*WORDS, *CONTROL, "\ue000")), max_size=8).map("".join)
names = st.sampled_from(("get", "get_weather", "Zoo", "a", "B", "b", "type", "description", "items", "é"))
keys = names | st.sampled_from(("properties", "required", "nullable", "x-y", "<", "<a"))


def json_values(strings: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Nested JSON values with such strings."""
    whole = st.integers(-(10**20), 10**20)
    leaves = st.none() | st.booleans() | whole | st.floats(allow_nan=False, allow_infinity=False) | strings
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=6,
    )


def calls(strings: st.SearchStrategy[str]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Tool calls as templates read them; some share an id, some have none."""
    arguments = st.none() | st.dictionaries(keys, json_values(strings), max_size=4)
    function = st.fixed_dictionaries({"name": names, "arguments": arguments})
    call = st.fixed_dictionaries(
        {"type": st.just("function"), "function": function},
        optional={"id": st.sampled_from(("c1", "c2", None))},
    )
    return st.lists(call, max_size=3)


def parts(strings: st.SearchStrategy[str]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Content as a list."""
    media = st.sampled_from(("image", "image_url", "audio", "input_audio", "video", "other"))
    part = st.fixed_dictionaries({"type": st.just("text"), "text": strings}) | media.map(
        lambda kind: {"type": kind}
    )
    return st.lists(part, max_size=3)


def raw_messages(strings: st.SearchStrategy[str]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Messages as templates read them, sensible and not."""
    response = st.fixed_dictionaries({"response": json_values(strings)}, optional={"name": st.none() | names})
    content = st.none() | strings | parts(strings)
    message = st.fixed_dictionaries(
        {"role": st.sampled_from(("user", "assistant", "assistant", "system", "developer", "model"))},
        optional={
            "content": content,
            "reasoning": st.none() | strings,
            "reasoning_content": st.none() | strings,
            "tool_calls": st.none() | calls(strings),
            "tool_responses": st.none() | st.lists(response, max_size=2),
        },
    )
    tool = st.fixed_dictionaries(
        {"role": st.just("tool"), "content": content | json_values(strings)},
        optional={"tool_call_id": st.sampled_from(("c1", "c2", "c3", None)), "name": st.none() | names},
    )
    return st.lists(message | tool, max_size=6)


def schemas(strings: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """JSON schemas of parameters, nested, with keywords that the template knows and some that it does not."""
    kinds = ("string", "integer", "number", "boolean", "array", "object", "String")
    kind = st.sampled_from(kinds) | st.just(["integer", "null"])
    optional: dict[str, st.SearchStrategy[Any]] = {
        "description": strings,
        "nullable": st.booleans(),
        "enum": st.lists(strings | st.integers(), max_size=3),
        "default": json_values(strings),
        "minimum": st.integers(),
    }
    leaf = st.fixed_dictionaries({}, optional={"type": kind, **optional})

    def larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        nested = {
            "items": inner | st.none(),
            "properties": st.dictionaries(keys, inner, max_size=3),
            "required": st.lists(names, max_size=3),
        }
        return st.fixed_dictionaries({"type": kind}, optional={**optional, **nested})

    return st.recursive(leaf, larger, max_leaves=5)


def raw_tools(strings: st.SearchStrategy[str]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Tools as templates read them."""
    parameters = st.fixed_dictionaries(
        {},
        optional={
            "type": st.just("object"),
            "properties": st.dictionaries(keys, schemas(strings), max_size=4),
            "required": st.lists(names, max_size=3),
        },
    )
    response = st.fixed_dictionaries(
        {}, optional={"type": st.sampled_from(("object", "string")), "description": strings}
    )
    function = st.fixed_dictionaries(
        {"name": names}, optional={"description": strings, "parameters": parameters, "response": response}
    )
    tool = st.fixed_dictionaries({"type": st.just("function"), "function": function})
    return st.lists(tool, max_size=3)


@st.composite
def conversations(draw: st.DrawFn, strings: st.SearchStrategy[str]) -> list[dict[str, Any]]:
    """Conversations in OpenAI's shape that wait for the model's answer."""
    messages: list[dict[str, Any]] = []
    if draw(st.booleans()):
        messages.append({"role": draw(st.sampled_from(("system", "developer"))), "content": draw(strings)})
    for _ in range(draw(st.integers(0, 2))):
        messages.append({"role": "user", "content": draw(strings)})
        for _ in range(draw(st.integers(0, 2))):
            messages += draw(_exchange(strings))
        messages.append({"role": "assistant", "content": draw(strings), "reasoning": draw(strings)})
    asked = strings.map(lambda words: f"?{words}")
    part = st.fixed_dictionaries({"type": st.just("text"), "text": asked})
    messages.append({"role": "user", "content": draw(asked | st.lists(part, min_size=1, max_size=3))})
    return messages + draw(st.just([]) | _exchange(strings))


@st.composite
def _exchange(draw: st.DrawFn, strings: st.SearchStrategy[str]) -> list[dict[str, Any]]:
    """Calls and their responses."""
    called = []
    for number in range(draw(st.integers(1, 2))):
        arguments = draw(st.dictionaries(keys, json_values(strings), max_size=3))
        function = {"name": draw(names), "arguments": arguments}
        called.append({"id": f"c{number}", "type": "function", "function": function})
    caller = {"role": "assistant", "content": draw(st.none() | strings), "tool_calls": called}
    if draw(st.booleans()):
        caller["reasoning"] = draw(strings)
    response = strings | st.dictionaries(keys, json_values(strings), max_size=2)
    answers = [{"role": "tool", "tool_call_id": call["id"], "content": draw(response)} for call in called]
    return [caller, *draw(st.permutations(answers))]
