from pathlib import Path

import pytest

from gemcut.cli.conversation import Conversation
from gemcut.cli.screen import Screen
from gemcut.cli.slash import COMMANDS, is_command, obey
from gemcut.errors import BadOption
from tests.cli.fake import PLAIN, FakeGemma, said


@pytest.fixture
def conversation() -> Conversation:
    return Conversation(FakeGemma(said("Hello!")), "nano", PLAIN, Screen())


@pytest.mark.parametrize("line", ["/help", "/think on", "/sytem x", "/exit "])
def test_a_slash_and_letters_are_a_command(line: str) -> None:
    assert is_command(line)


@pytest.mark.parametrize("line", ["/etc/hosts is what?", " /help", "help", "/", "/ 2", "1/2", "/2"])
def test_other_lines_are_text(line: str) -> None:
    assert not is_command(line)


def test_help_names_every_command(conversation: Conversation) -> None:
    shown = obey(conversation, "/help")
    assert all(name in shown for name in (*COMMANDS, '"""', "Ctrl-C", "Ctrl-D"))


def test_think_is_switched(conversation: Conversation) -> None:
    said = [obey(conversation, line) for line in ("/think on", "/think", "/think", "/think off")]
    assert said == ["thinking is on", "thinking is off", "thinking is on", "thinking is off"]
    with pytest.raises(BadOption, match="takes on or off, not 'maybe'"):
        obey(conversation, "/think maybe")
    assert not conversation.settings.think


def test_the_system_prompt_is_set_and_removed(conversation: Conversation) -> None:
    assert obey(conversation, "/system  Be brief.\nBe kind. ") == "the system prompt is set"
    assert conversation.settings.system == "Be brief.\nBe kind."
    assert obey(conversation, "/system") == "there is no system prompt now"
    assert conversation.settings.system is None


def test_save_clear_and_load(conversation: Conversation, tmp_path: Path) -> None:
    conversation.say("Hi")
    file = tmp_path / "my talk.json"
    assert obey(conversation, f"/save {file}") == f"saved 2 messages in {file}"
    obey(conversation, "/clear")
    assert conversation.messages == []
    assert obey(conversation, f"/load {file}") == f"loaded 2 messages from {file}"
    assert len(conversation.messages) == 2


def test_loading_another_models_talk_says_so(conversation: Conversation, tmp_path: Path) -> None:
    file = tmp_path / "talk.json"
    file.write_text('{"model": "e2b", "system": null, "messages": []}')
    assert obey(conversation, f"/load {file}").endswith("they were said with e2b")


@pytest.mark.parametrize("line", ["/save", "/load "])
def test_a_file_must_be_named(conversation: Conversation, line: str) -> None:
    with pytest.raises(BadOption, match="needs a file"):
        obey(conversation, line)


@pytest.mark.parametrize(
    ("line", "says"),
    [("/sytem x", "there is no /sytem; did you mean /system?"), ("/bye", "there is no /bye; /exit leaves")],
)
def test_an_unknown_command_is_told_the_nearest(conversation: Conversation, line: str, says: str) -> None:
    with pytest.raises(BadOption) as caught:
        obey(conversation, line)
    assert str(caught.value).startswith(says)


def test_exit_leaves(conversation: Conversation) -> None:
    with pytest.raises(EOFError):
        obey(conversation, "/exit")
