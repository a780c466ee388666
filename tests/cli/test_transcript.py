from pathlib import Path

import pytest

from gemcut.cli.transcript import Transcript, load_transcript, save_transcript
from gemcut.errors import BadMessages, BadOption

TALK = Transcript(
    model="nano",
    system="Be brief.",
    messages=[{"role": "user", "content": "Grüß dich"}, {"role": "assistant", "content": "Hallo!"}],
)


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    save_transcript(TALK, tmp_path / "talk.json")
    assert load_transcript(tmp_path / "talk.json") == TALK


def test_an_empty_conversation_can_be_saved(tmp_path: Path) -> None:
    empty = Transcript(model="nano", system=None, messages=[])
    save_transcript(empty, tmp_path / "talk.json")
    assert load_transcript(tmp_path / "talk.json") == empty


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match=r"cannot read .*no\.json: No such file"):
        load_transcript(tmp_path / "no.json")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match=r"cannot write .*talk\.json: No such file"):
        save_transcript(TALK, tmp_path / "no" / "talk.json")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "Invalid JSON"),
        ("\x00", "Invalid JSON"),
        ('{"model": "nano", "system": null}', "messages: Field required"),
        ('{"model": "nano", "system": null, "messages": [], "mood": 1}', "mood: Extra inputs"),
        ('{"model": "nano", "system": null, "messages": [{"role": "king", "content": ""}]}', "role 'king'"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "talk.json").write_text(text)
    with pytest.raises(BadMessages, match=what):
        load_transcript(tmp_path / "talk.json")
