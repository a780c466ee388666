"""What nano, the model in the package, does: answers, thinks, calls a tool, sees, hears and watches.

`make demo` runs this; it needs no network.
"""

from pathlib import Path

from gemcut import Gemma, MediaOptions, SamplingParams, VideoOptions

FOLDER = Path(__file__).parent
GREEDY = SamplingParams(temperature=0)


def get_weather(city: str) -> str:
    """The weather in a city right now.

    Args:
        city: The city's name.
    """
    return f"sunny in {city}"


def main() -> None:
    """Prints some exchanges with nano."""
    gemma = Gemma.load("nano")
    talk(gemma)
    look_and_listen(gemma)


def look_and_listen(gemma: Gemma) -> None:
    """A picture of shapes, one of words, a spoken clip, and a video."""
    shapes, words = FOLDER / "shapes.png", FOLDER / "words.png"
    for question in ("How many green triangles are there?", "What color is the background?"):
        reply = gemma.reply(question, images=[shapes], sampling=GREEDY)
        print(f"image    > {shapes.name}: {question}\n           {reply.text}\n")

    question = "What does it say?"
    finer = MediaOptions(image_tokens=280)
    reply = gemma.reply(question, images=[words], media=finer, sampling=GREEDY)
    print(f"reading  > {words.name}: {question}\n           {reply.text}\n")

    question, clip = "What is said?", FOLDER / "spoken.wav"
    reply = gemma.reply(question, audio=[clip], sampling=GREEDY)
    print(f"audio    > {clip.name}: {question}\n           {reply.text}\n")

    question, film = "Which way does the square move?", FOLDER / "moving.mp4"
    frames = MediaOptions(video=VideoOptions(num_frames=4))
    reply = gemma.reply(question, videos=[film], media=frames, sampling=GREEDY)
    print(f"video    > {film.name}: {question}\n           {reply.text}")


def talk(gemma: Gemma) -> None:
    """An answer, a thought, a tool call, and the answer to its result."""
    question = "What is Gemma 4?"
    reply = gemma.reply(question, sampling=GREEDY)
    print(f"text     > {question}\n           {reply.text}\n")

    question = "What is 274 + 389?"
    reply = gemma.reply(question, think=True, sampling=GREEDY)
    print(f"thought  > {question}\n           ({reply.thoughts.strip()})\n           {reply.text}\n")

    question = "What is the weather in Lisbon?"
    reply = gemma.reply(question, tools=[get_weather], sampling=GREEDY)
    if not reply.tool_calls:
        raise SystemExit(f"nano called no tool and said: {reply.text}")
    call = reply.tool_calls[0]
    print(f"tool     > {question}\n           {call.name}({dict(call.arguments)})")

    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "name": call.name, "content": get_weather(**call.arguments)},
    ]
    reply = gemma.reply(messages, tools=[get_weather], sampling=GREEDY)
    print(f"           {reply.text}\n")


if __name__ == "__main__":
    main()
