"""What nano, the model in the package, does: an answer, a thought, a tool call, and the answer to its result.

`make demo` runs this; it needs no network.
"""

from gemcut import Gemma, SamplingParams


def get_weather(city: str) -> str:
    """The weather in a city right now.

    Args:
        city: The city's name.
    """
    return f"sunny in {city}"


def main() -> None:
    """Prints four exchanges with nano."""
    gemma = Gemma.load("nano")
    greedy = SamplingParams(temperature=0)

    question = "What is Gemma 4?"
    reply = gemma.reply(question, sampling=greedy)
    print(f"text     > {question}\n           {reply.text}\n")

    question = "What is 274 + 389?"
    reply = gemma.reply(question, think=True, sampling=greedy)
    print(f"thought  > {question}\n           ({reply.thoughts.strip()})\n           {reply.text}\n")

    question = "What is the weather in Lisbon?"
    reply = gemma.reply(question, tools=[get_weather], sampling=greedy)
    if not reply.tool_calls:
        raise SystemExit(f"nano called no tool and said: {reply.text}")
    call = reply.tool_calls[0]
    print(f"tool     > {question}\n           {call.name}({dict(call.arguments)})")

    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "name": call.name, "content": get_weather(**call.arguments)},
    ]
    reply = gemma.reply(messages, tools=[get_weather], sampling=greedy)
    print(f"           {reply.text}")


if __name__ == "__main__":
    main()
