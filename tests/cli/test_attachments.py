from pathlib import Path

import pytest

from gemcut.cli.attachments import attachment, attachments, question
from gemcut.errors import BadOption


def test_pictures_stand_before_the_text_and_sound_behind_it(tmp_path: Path) -> None:
    for name in ("a.png", "b.wav", "c.mp4"):
        (tmp_path / name).touch()
    parts = attachments([str(tmp_path / "a.png")], [str(tmp_path / "b.wav")], [str(tmp_path / "c.mp4")])
    message = question("What?", parts)
    assert [part["type"] for part in message["content"]] == ["image", "video", "text", "audio"]


def test_without_files_a_question_is_plain_text() -> None:
    assert question("What?", attachments(None, None, None)) == {"role": "user", "content": "What?"}


def test_urls_are_left_to_the_reader_and_missing_files_refused() -> None:
    assert attachment("image", "https://host/a.png") == {"type": "image", "image": "https://host/a.png"}
    with pytest.raises(BadOption, match="there is no audio file nowhere.wav; name one that is there"):
        attachment("audio", "nowhere.wav")
    with pytest.raises(BadOption, match="/tmp is a folder; name image files one by one"):
        attachment("image", "/tmp")
