"""The tools that everybody declares first: weather, time, search, mail, timers, sums, and so on."""

from typing import Any

from recipes.nano.example import Json
from recipes.nano.lexicon import CITIES, COLORS, NAMES, Lexicon

Row = tuple[str, str, dict[str, str], tuple[str, ...], tuple[str, ...]]
# name, description, {parameter: source of values}, what people ask, what the tool answers
ROWS: tuple[Row, ...] = (
    (
        "get_weather",
        "Get the weather in a city.",
        {"city": "city"},
        (
            "What's the weather in {city}?",
            "What is the weather like in {city}?",
            "How is the weather in {city} today?",
            "weather in {city}",
            "Is it raining in {city}?",
            "Tell me the weather in {city}.",
            "what's the weather in {city} right now",
            "Will I need an umbrella in {city}?",
        ),
        ("{n} degrees, sunny", "{n} degrees, cloudy", "{n} degrees and rain", "sunny", "{n}C"),
    ),
    (
        "get_time",
        "Get the current time in a city.",
        {"city": "city"},
        (
            "What time is it in {city}?",
            "what's the time in {city}",
            "Tell me the time in {city}.",
            "current time in {city}?",
            "How late is it in {city}?",
        ),
        ("{time}",),
    ),
    (
        "search_web",
        "Search the web.",
        {"query": "words"},
        (
            "Search the web for {query}.",
            "search for {query}",
            "Look up {query} on the web.",
            "Find {query} online.",
            "Can you search {query}?",
        ),
        ("no results", "{n} results", "{word} {word}"),
    ),
    (
        "send_email",
        "Send an email.",
        {"to": "mail", "subject": "words"},
        (
            "Send an email to {to} with subject {subject}.",
            "Email {to} about {subject}.",
            "write an email to {to}, subject {subject}",
            "Please mail {to} with the subject {subject}",
        ),
        ("sent", "ok"),
    ),
    (
        "set_timer",
        "Set a timer.",
        {"minutes": "small"},
        (
            "Set a timer for {minutes} minutes.",
            "timer {minutes} minutes",
            "Start a timer of {minutes} minutes please",
            "Set a {minutes} minute timer.",
            "Remind me in {minutes} minutes.",
        ),
        ("ok", "done"),
    ),
    (
        "set_alarm",
        "Set an alarm.",
        {"time": "time"},
        (
            "Set an alarm for {time}.",
            "Wake me up at {time}.",
            "alarm at {time}",
            "Can you wake me at {time}?",
        ),
        ("ok", "done"),
    ),
    (
        "calculate",
        "Calculate an expression.",
        {"expression": "sum"},
        (
            "Calculate {expression}.",
            "What is {expression}?",
            "compute {expression}",
            "How much is {expression}?",
        ),
        ("{n}",),
    ),
    (
        "translate_text",
        "Translate a text.",
        {"text": "words", "language": "language"},
        (
            "Translate {text} to {language}.",
            "Translate {text} into {language}",
            "How do you say {text} in {language}?",
            "what is {text} in {language}",
        ),
        ("{word} {word}", "{word}"),
    ),
    (
        "convert_currency",
        "Convert an amount of money.",
        {"amount": "number", "source": "money", "target": "money"},
        (
            "Convert {amount} {source} to {target}.",
            "How much is {amount} {source} in {target}?",
            "change {amount} {source} into {target}",
        ),
        ("{n}",),
    ),
    (
        "play_music",
        "Play a song.",
        {"song": "words"},
        ("Play {song}.", "play the song {song}", "I want to hear {song}.", "Put on {song}, please."),
        ("ok", "playing"),
    ),
    (
        "turn_on_light",
        "Turn on the light in a room.",
        {"room": "room"},
        ("Turn on the light in the {room}.", "Switch on the {room} light.", "lights on in the {room}"),
        ("ok", "done"),
    ),
    (
        "set_color",
        "Set the color of the light.",
        {"color": "color"},
        ("Make the light {color}.", "Set the light to {color}.", "Change the color to {color}."),
        ("ok", "done"),
    ),
    (
        "get_stock_price",
        "Get the price of a stock.",
        {"symbol": "symbol"},
        ("What is the price of {symbol}?", "stock price of {symbol}", "How much is {symbol} stock?"),
        ("{n}", "{n} dollars"),
    ),
    (
        "get_news",
        "Get the news about a topic.",
        {"topic": "word"},
        ("What's the news about {topic}?", "news on {topic}", "Show me the latest news about {topic}."),
        ("no news", "{word} {word} {word}"),
    ),
    (
        "call_contact",
        "Call a person.",
        {"name": "name"},
        ("Call {name}.", "Phone {name} please", "Can you call {name}?", "I want to talk to {name}."),
        ("ok", "no answer"),
    ),
    (
        "book_flight",
        "Book a flight.",
        {"origin": "city", "destination": "city", "date": "date"},
        (
            "Book a flight from {origin} to {destination} on {date}.",
            "I need a flight from {origin} to {destination} on {date}.",
            "fly me from {origin} to {destination}, {date}",
        ),
        ("booked", "{word}"),
    ),
    (
        "roll_dice",
        "Roll a dice.",
        {"sides": "small"},
        ("Roll a dice with {sides} sides.", "roll a {sides} sided dice", "Roll a d{sides}."),
        ("{n}",),
    ),
)
WEATHER_NAMES = ("get_weather",) * 5 + ("weather", "get_current_weather", "weather_forecast", "check_weather")
WEATHER_TEXTS = (
    "Get the weather in a city.",
    "Get the weather.",
    "The weather in a city.",
    "Current weather in a city.",
    "Get the current weather for a city.",
    "Return the weather of a place.",
    "Weather in a city.",
)
SYNONYMS = {
    "city": ("city", "location", "place", "town"),
    "query": ("query", "text", "question"),
    "to": ("to", "recipient", "address"),
    "minutes": ("minutes", "duration"),
    "song": ("song", "title", "name"),
    "topic": ("topic", "subject", "query"),
    "symbol": ("symbol", "ticker", "name"),
}
LANGUAGES = ("French", "German", "Spanish", "Italian", "Portuguese", "English", "Japanese", "Dutch")
MONEY = ("USD", "EUR", "GBP", "JPY", "CHF", "dollars", "euros", "pounds", "yen")
ROOMS = ("kitchen", "bedroom", "bathroom", "garage", "hall", "office", "garden", "living room")


def draw_source(lexicon: Lexicon, source: str) -> Any:
    """A value of the source that a row names."""
    rng = lexicon.rng
    fixed = {"language": LANGUAGES, "money": MONEY, "room": ROOMS}
    if source in fixed:
        return rng.choice(fixed[source])
    if source == "city":
        return lexicon.choice(CITIES) if rng.random() < 0.7 else lexicon.city()
    if source == "name":
        return lexicon.choice(NAMES) if rng.random() < 0.6 else lexicon.name()
    if source == "color":
        return lexicon.choice(COLORS)
    if source == "words":
        return " ".join(lexicon.words(rng.choice((1, 2, 2, 3))))
    if source == "mail":
        return f"{lexicon.word()}@{lexicon.word()}.com" if rng.random() < 0.6 else lexicon.choice(NAMES)
    if source == "time":
        return (
            f"{rng.randint(0, 23):02d}:{rng.choice((0, 15, 30, 45)):02d}"
            if rng.random() < 0.6
            else (f"{rng.randint(1, 12)} {rng.choice(('am', 'pm'))}")
        )
    if source == "sum":
        sign = rng.choice(("*", "/", "+", "-"))
        return f"{rng.randint(2, 999)}{sign}{rng.randint(2, 99)}"
    if source == "date":
        return f"2026-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
    if source == "symbol":
        return "".join(rng.choice("ABCDEFGHIKLMNOPRSTUVW") for _ in range(rng.choice((3, 4))))
    return {"small": lambda: rng.randint(1, 60), "number": lexicon.number, "word": lexicon.word}[source]()


def draw_everyday(lexicon: Lexicon) -> tuple[Json, str, Json, str, str]:
    """One everyday tool: schema, question, arguments, what it answers, and the model's last word."""
    rng = lexicon.rng
    name, description, sources, questions, responses = rng.choices(ROWS, [4] + [1] * (len(ROWS) - 1))[0]
    if name == "get_weather":
        name, description = rng.choice(WEATHER_NAMES), rng.choice(WEATHER_TEXTS)
    renamed = {old: rng.choice(SYNONYMS.get(old, (old,))) for old in sources} if rng.random() < 0.35 else {}
    drawn = {old: draw_source(lexicon, source) for old, source in sources.items()}
    arguments = {renamed.get(old, old): value for old, value in drawn.items()}
    properties = {
        parameter: {"type": "string" if isinstance(value, str) else "integer"}
        for parameter, value in arguments.items()
    }
    if rng.random() < 0.15:
        for parameter in properties:
            properties[parameter]["description"] = f"The {parameter}."
    schema = {
        "type": "function",
        "function": {
            "name": name,
            "description": description if rng.random() < 0.8 else description.rstrip("."),
            "parameters": {"type": "object", "properties": properties, "required": list(arguments)},
        },
    }
    if "weather" in name and rng.random() < 0.2:
        properties["unit"] = {"type": "string", "enum": ["celsius", "fahrenheit"]}
    question = rng.choice(questions).format(**drawn)
    question = question if rng.random() < 0.7 else question.rstrip(".?").lower()
    arguments = {
        p: v.lower() if question.islower() and isinstance(v, str) else v for p, v in arguments.items()
    }
    values = {"n": rng.randint(1, 40), "time": f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"}
    response = rng.choice(responses).format(**values, word=lexicon.word())
    done = response in ("ok", "done", "sent", "playing", "booked")
    return schema, question, arguments, response, "Done." if done else f"The tool says: {response}."
