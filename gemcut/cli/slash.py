"""The commands of a conversation: lines such as /think on."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from gemcut.cli.conversation import Conversation
from gemcut.errors import BadOption

Action = Callable[[Conversation, str], str]

KEYS_HELP = (
    ('"""', "begins and ends a text of several lines; Alt-Enter puts a line break into one"),
    ("Ctrl-C", "stops the answer (what was said stays); at the prompt, drops the line"),
    ("Ctrl-D", "leaves, as /exit does"),
)


@dataclass(frozen=True)
class Command:
    """A command: how it is typed, what it does, and the function that does it and says so."""

    usage: str
    help: str
    act: Action


def _help(_conversation: Conversation, _text: str) -> str:
    lines = [(command.usage, command.help) for command in COMMANDS.values()]
    return "\n".join(f"{usage:<15} {what}" for usage, what in (*lines, *KEYS_HELP))


def _clear(conversation: Conversation, _text: str) -> str:
    conversation.clear()
    return "forgotten; the system prompt stays"


def _think(conversation: Conversation, text: str) -> str:
    wanted = {"": not conversation.settings.think, "on": True, "off": False}.get(text)
    if wanted is None:
        raise BadOption(f"/think takes on or off, not {text!r}")
    conversation.change(think=wanted)
    return f"thinking is {'on' if wanted else 'off'}"


def _system(conversation: Conversation, text: str) -> str:
    conversation.change(system=text if text else None)
    return "the system prompt is set" if text else "there is no system prompt now"


def _save(conversation: Conversation, text: str) -> str:
    if not text:
        raise BadOption("/save needs a file: /save talk.json")
    conversation.save(Path(text).expanduser())
    return f"saved {len(conversation.messages)} messages in {text}"


def _load(conversation: Conversation, text: str) -> str:
    if not text:
        raise BadOption("/load needs a file that /save wrote: /load talk.json")
    other = conversation.load(Path(text).expanduser())
    held_with = "" if other == conversation.source else f"; they were said with {other}"
    return f"loaded {len(conversation.messages)} messages from {text}{held_with}"


def _attach(kind: str) -> Action:
    def act(conversation: Conversation, text: str) -> str:
        if not text:
            raise BadOption(f"/{kind} needs a file or a URL")
        conversation.attach(kind, text)
        return f"{text} goes with your next question"

    return act


def _exit(_conversation: Conversation, _text: str) -> str:
    raise EOFError


COMMANDS = {
    "/help": Command("/help", "lists this", _help),
    "/clear": Command("/clear", "forgets what was said", _clear),
    "/think": Command("/think [on|off]", "lets the model think first, or not", _think),
    "/system": Command("/system [TEXT]", "sets the system prompt; without TEXT, removes it", _system),
    "/image": Command("/image FILE", "shows a picture with the next question", _attach("image")),
    "/audio": Command("/audio FILE", "plays a sound with the next question", _attach("audio")),
    "/video": Command("/video FILE", "shows a video with the next question", _attach("video")),
    "/save": Command("/save FILE", "writes the conversation as JSON", _save),
    "/load": Command("/load FILE", "goes on with a conversation that /save wrote", _load),
    "/exit": Command("/exit", "leaves", _exit),
}


def is_command(line: str) -> bool:
    """Whether a line is a command: its first word is a slash and letters ("/etc/hosts" is text)."""
    return re.match(r"/[a-zA-Z]+(\s|$)", line) is not None


def obey(conversation: Conversation, line: str) -> str:
    """Carries a command out; returns what to tell the user.

    Raises EOFError where the user wants to leave, BadOption or BadMessages where it cannot be obeyed.
    """
    name, _, text = line.strip().partition(" ")
    command = COMMANDS.get(name)
    if command is None:
        near = get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else "/exit leaves."
        raise BadOption(f"there is no {name}; {hint} /help lists the commands")
    return command.act(conversation, text.strip())
