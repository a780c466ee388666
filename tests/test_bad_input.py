"""Bad input ends in one line on stderr that says what to do, and exit code 2: never in a traceback."""

import io
import json
import resource
import zlib
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from gemcut.cli.main import build_app
from tests.media.makers import as_bytes, brightening, noise, sine, sound_file, video_file
from tests.tiny_model import CONTEXT, write_tiny_model

WEIGHTS = "model.safetensors"
SOME_TENSOR = "model.language_model.layers.1.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def senses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without a fault that takes images, sound and video."""
    folder = tmp_path_factory.mktemp("models") / "senses"
    write_tiny_model(folder, senses=True)
    return folder


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without a fault."""
    folder = tmp_path_factory.mktemp("models") / "sound"
    write_tiny_model(folder)
    return folder


def complaint(arguments: list[str]) -> str:
    """What `gemcut` with these arguments says is wrong; nothing may be printed but that one line."""
    result = CliRunner().invoke(build_app(), arguments)
    assert result.stdout == ""
    assert result.exit_code == 2, result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def ask(model: Path | str, *options: str, prompt: str = "Hello") -> list[str]:
    return ["run", str(model), prompt, "--max-tokens", "2", *options]


def change(folder: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / WEIGHTS)
    edit(tensors)
    save_file(tensors, folder / WEIGHTS)


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def unknown_key(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["attention_sinks"] = 4
    (folder / "config.json").write_text(json.dumps(config))


def missing_key(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["text_config"]["sliding_window"]
    (folder / "config.json").write_text(json.dumps(config))


def truncated(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def corrupted(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[8:40] = b"\xff" * 32
    (folder / WEIGHTS).write_bytes(bytes(data))


def empty(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"")


def without_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def wrong_dtype(folder: Path) -> None:
    change(folder, lambda tensors: tensors.update({SOME_TENSOR: tensors[SOME_TENSOR].to(torch.int32)}))


def missing_tensor(folder: Path) -> None:
    change(folder, lambda tensors: tensors.pop(SOME_TENSOR))


def other_shape(folder: Path) -> None:
    change(folder, lambda tensors: tensors.update({SOME_TENSOR: tensors[SOME_TENSOR][:-1].clone()}))


def left_over_tensor(folder: Path) -> None:
    change(folder, lambda tensors: tensors.update({"model.language_model.layers.9.x": torch.zeros(2)}))


def without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def damaged_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": "1.0"')


def template_that_raises(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ raise_exception('roles must\nalternate') }}")


def template_that_does_not_compile(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{% for message in messages %}")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (without_config, "config.json"),
        (unknown_key, "attention_sinks"),
        (missing_key, "sliding_window"),
        (truncated, WEIGHTS),
        (corrupted, WEIGHTS),
        (empty, WEIGHTS),
        (without_weights, WEIGHTS),
        (wrong_dtype, SOME_TENSOR),
        (missing_tensor, SOME_TENSOR),
        (other_shape, SOME_TENSOR),
        (left_over_tensor, "layers.9.x"),
        (without_tokenizer, "tokenizer.json"),
        (damaged_tokenizer, "tokenizer.json"),
        (template_that_raises, "roles must alternate"),
        (template_that_does_not_compile, "does not compile"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_damaged_model_is_refused(damage: Callable[[Path], None], says: str, tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "model")
    damage(tmp_path / "model")
    assert says in complaint(ask(tmp_path / "model"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--temperature", "0", "--top-k", "5"], "top_k would be ignored"),
        (["--temperature", "-1"], "temperature is -1"),
        (["--top-p", "1.5"], "top_p is 1.5"),
        (["--top-k", "0"], "top_k is 0"),
        (["--min-p", "2"], "min_p is 2"),
        (["--repetition-penalty", "0"], "repetition_penalty is 0"),
        (["--seed", "-3"], "seed is -3"),
        (["--stop", ""], "stop text is empty"),
        (["--device", "abacus"], "abacus"),
        (["--dtype", "int7"], "int7"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_cannot_be_met_are_refused(sound: Path, options: list[str], says: str) -> None:
    assert says in complaint(ask(sound, *options))


def test_zero_tokens_are_refused(sound: Path) -> None:
    assert "max_tokens is 0" in complaint(["run", str(sound), "Hello", "--max-tokens", "0"])


@pytest.mark.parametrize("prompt", ["", " \n"])
def test_an_empty_prompt_is_refused(sound: Path, prompt: str) -> None:
    assert "empty" in complaint(ask(sound, prompt=prompt))


def test_no_prompt_and_no_terminal_is_refused(sound: Path) -> None:
    assert "give a prompt, or pipe one" in complaint(["run", str(sound)])


def test_a_prompt_longer_than_the_context_is_refused(sound: Path) -> None:
    assert f"context holds {CONTEXT}" in complaint(ask(sound, prompt="x" * CONTEXT))


@pytest.mark.parametrize(
    "arguments", [["run", "27b", "Hello"], ["show", "27b"], ["pull", "27b"], ["run", "Hello", "you"]]
)
def test_an_unknown_size_is_refused(arguments: list[str]) -> None:
    assert "nano, e2b, e4b, 12b, 26b, 31b" in complaint(arguments)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "no folder" in complaint(ask(tmp_path / "none"))


def test_a_model_that_is_not_here_is_not_downloaded_offline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert "gemcut pull" in complaint(ask("e2b", "--offline"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ('{"a": 1}', "must be a list"),
        ("[1]", "tool 0"),
        ('[{"type": "function"}]', "tool 0"),
    ],
)
def test_tools_that_are_none_are_refused(sound: Path, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "tools.json").write_text(text)
    assert says in complaint(ask(sound, "--tools", str(tmp_path / "tools.json")))


def truncated_jpeg() -> bytes:
    whole = as_bytes(noise(200, 200), "JPEG")
    return whole[: len(whole) // 2]


def bomb() -> bytes:
    """A PNG of a hundred bytes that says it has 3.6 billion pixels."""
    tiny = as_bytes(Image.new("L", (1, 1)), "PNG")
    header = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + tiny[24:29]
    return tiny[:12] + header + zlib.crc32(header).to_bytes(4, "big") + tiny[33:]


def hundred_megapixels() -> bytes:
    return as_bytes(Image.new("1", (10_000, 10_000)), "PNG")


def zipped() -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "hello")
    return buffer.getvalue()


def text() -> bytes:
    return b"This is a text, and no sound.\n" * 100


def a_second() -> bytes:
    return sound_file(sine(1.0))


def too_long() -> bytes:
    return sound_file(sine(31.0))


def nothing() -> bytes:
    return b""


def half_a_video() -> bytes:
    whole = video_file(brightening(30), 10, "mp4")
    return whole[: len(whole) // 2]


@pytest.mark.parametrize(
    ("option", "name", "make", "says"),
    [
        ("--image", "photo.jpg", truncated_jpeg, "photo.jpg) is damaged (image file is truncated"),
        (
            "--image",
            "bomb.png",
            bomb,
            "bomb.png) has more than 64 million pixels, the most that",
        ),
        ("--image", "huge.png", hundred_megapixels, "has 100 million pixels, and 64 are the most; make"),
        ("--image", "zip.png", zipped, "zip.png) is no image that can be read; give one of JPEG, PNG"),
        ("--image", "empty.png", nothing, "is empty; give a whole file"),
        ("--image", "song.png", a_second, "is no image that can be read"),
        ("--audio", "text.wav", text, "text.wav) is no sound or video that can be read; give WAV, MP3"),
        ("--audio", "picture.wav", truncated_jpeg, "is no sound or video that can be read"),
        ("--audio", "long.wav", too_long, "is 31.00 s long, and 30 s are the most; cut it, or give --trim"),
        ("--video", "sound.mp4", a_second, "sound.mp4) has no moving pictures; give a video"),
        ("--video", "half.mp4", half_a_video, "give "),
        ("--video", "zip.mp4", zipped, "zip.mp4) is no sound or video that can be read"),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value)[:9],
)
def test_media_that_cannot_be_read_are_refused(
    senses: Path, tmp_path: Path, option: str, name: str, make: Callable[[], bytes], says: str
) -> None:
    (tmp_path / name).write_bytes(make())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = complaint(ask(senses, option, str(tmp_path / name)))
    assert says in line
    assert "; " in line, "what to do stands behind a semicolon"
    grown_bytes = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown_bytes < 2**27, "a decoder was let loose on it"


@pytest.mark.parametrize("option", ["--image", "--audio", "--video"])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("/no/such/file", "file /no/such/file; name one that is there, or a URL"),
        ("/tmp", "/tmp is a folder; name "),
        ("/dev/zero", "file /dev/zero; name one that is there"),
        ("", "file ; name one"),
        ("z" * 9999, "zz…zz"),
        ("~nobody-of-this-name/a", "file ~nobody-of-this-name/a; name one"),
        ("http://127.0.0.1:1/a", "http://127.0.0.1:1/a cannot be read ("),
        ("ftp://127.0.0.1/a", "begins with ftp://; give an http(s) URL"),
        ("file:///etc/hostname", "is a file: URL; give the path itself"),
        ("data:;base64,####", "the base64 is damaged"),
    ],
    ids=lambda value: str(value)[:9],
)
def test_media_that_are_not_there_are_refused(senses: Path, option: str, name: str, says: str) -> None:
    assert says in complaint(ask(senses, option, name))


def test_a_file_beyond_the_most_bytes_is_not_read(senses: Path, tmp_path: Path) -> None:
    with (tmp_path / "long.wav").open("wb") as file:
        file.truncate(10**12)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = complaint(ask(senses, "--audio", str(tmp_path / "long.wav")))
    assert line.endswith("has more than 256 MB, the most that is read; make it smaller or cut it")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**17


@pytest.mark.parametrize("option", ["--image", "--audio", "--video"])
def test_media_for_a_model_that_takes_text_only_are_refused(sound: Path, tmp_path: Path, option: str) -> None:
    (tmp_path / "x").write_bytes(b"whatever it is")
    line = complaint(ask(sound, option, str(tmp_path / "x")))
    kind = option.removeprefix("--")
    assert f"holds {kind} input and this model takes text only; leave it out or load a model" in line


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--image-tokens", "71"], "an image takes one of 70, 140, 280, 560, 1120 tokens, not 71"),
        (["--video-frames", "61"], "a video takes 1 to 60 frames, not 61"),
    ],
    ids=str,
)
def test_options_of_media_are_checked_before_a_model_is_loaded(options: list[str], says: str) -> None:
    assert says in complaint(ask("/no/such/model", *options))


def test_a_clip_of_31_s_is_cut_where_the_user_says_so(senses: Path, tmp_path: Path) -> None:
    (tmp_path / "long.wav").write_bytes(too_long())
    result = CliRunner().invoke(build_app(), ask(senses, "--audio", str(tmp_path / "long.wav"), "--trim"))
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.strip("\n")) == 2


def test_a_sound_model_answers(sound: Path) -> None:
    result = CliRunner().invoke(build_app(), ask(sound))
    assert result.exit_code == 0
    assert len(result.stdout.strip("\n")) == 2
