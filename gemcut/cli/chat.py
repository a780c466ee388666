"""The loop of a conversation: read a line, obey it or have it answered."""

from gemcut.cli.conversation import Conversation
from gemcut.cli.line_editor import LineEditor
from gemcut.cli.screen import Screen
from gemcut.cli.slash import is_command, obey
from gemcut.errors import GemcutError

PROMPT = ">>> "


def chat(conversation: Conversation, editor: LineEditor, screen: Screen) -> None:
    """Talks until the user leaves; an error is told and the conversation goes on."""
    while True:
        try:
            line = editor.read(PROMPT)
        except KeyboardInterrupt:
            screen.note("Ctrl-D or /exit leaves")
            continue
        except EOFError:
            return
        if not line.strip():
            continue
        try:
            if is_command(line):
                screen.note(obey(conversation, line))
            else:
                conversation.say(line.strip())
                _ask_for_results(conversation, editor, screen)
        except EOFError:
            return
        except KeyboardInterrupt:
            screen.note("stopped")
        except GemcutError as error:
            screen.error(error)


def _ask_for_results(conversation: Conversation, editor: LineEditor, screen: Screen) -> None:
    """Lets the user play the tools: what they type is what a call returns, and the model goes on with it."""
    while conversation.open_calls:
        try:
            results = [editor.read(f"{call.name} returns: ") for call in conversation.open_calls]
        except (KeyboardInterrupt, EOFError):
            conversation.take_back()
            screen.note("the question and its calls are taken back")
            return
        conversation.give_results(results)
