"""Images, sound and video in prompts: where their placeholders stand, how many, and what is refused."""

import base64
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
from transformers.models.gemma4.processing_gemma4 import Gemma4Processor

from gemcut.config import AudioFrameConfig, VisionPatchConfig
from gemcut.errors import BadMedia, BadMessages, BadOption, TemplateFailed, UnsupportedInput
from gemcut.media.video import VideoOptions
from gemcut.prompt import media
from gemcut.prompt.assemble import Prompt, assemble
from gemcut.prompt.latest import Latest
from gemcut.prompt.media import MediaOptions, MediaReader, PreparedImage, PreparedSound, Read
from gemcut.prompt.messages import MediaPart, Message, ToolCall, with_media
from gemcut.prompt.template import ChatTemplate
from gemcut.prompt.tokenizer import Tokenizer
from tests.media.makers import as_bytes, brightening, sine, sound_file, video_file
from tests.parity.test_towers import AUDIO, VISION
from tests.parity.tiny import EDGE, model_config
from tests.prompt.forms import form

TOWER = replace(VISION, patch_size=16)
PATCHED = VisionPatchConfig(
    mm_embed_dim=40,
    mm_posemb_size=64,
    output_proj_dims=40,
    patch_size=16,
    pooling_kernel_size=3,
    rms_norm_eps=1e-6,
)
FRAMED = AudioFrameConfig(
    audio_embed_dim=640, audio_samples_per_token=640, output_proj_dims=640, rms_norm_eps=1e-6
)
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 144, 3), dtype=np.uint8))
SECOND = (np.zeros(16_000, dtype=np.float32), 16_000)
FILM = (np.zeros((4, 48, 96, 3), dtype=np.uint8), 2.0)


def shown(prompt: Prompt, tokenizer: Tokenizer) -> str:
    """The prompt's text, runs of placeholders counted."""
    text = tokenizer.decode(prompt.token_ids, special=True)
    return re.sub(
        r"(<\|image\|>|<\|audio\|>|<\|video\|>)(\1)*",
        lambda run: f"[{run[0].count('|>')} {run[0][2:7]}]",
        text,
    )


def user(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def image(source: Any = PICTURE, **more: Any) -> dict[str, Any]:
    return {"type": "image", "image": source, **more}


def test_each_medium_stands_where_its_part_does(tokenizer: Tokenizer, nano_template: ChatTemplate) -> None:
    parts = user("A ", image(), {"type": "audio", "audio": SECOND}, "B", {"type": "video", "video": FILM})
    prompt = assemble(parts, None, False, form(tokenizer, nano_template, vision=TOWER, audio=AUDIO))
    asked = shown(prompt, tokenizer).split("user\n")[1].split("<turn|>")[0]
    frames = " ".join(f"00:0{second} <|image>[55 video]<image|>" for second in (0, 0, 1, 1))
    assert asked == f"A<|image>[260 image]<image|><|audio>[25 audio]<audio|>B{frames}"
    kinds = [type(item) for item in prompt.media]
    assert kinds == [PreparedImage, PreparedSound, *[PreparedImage] * 4]
    placeholders = sum(
        prompt.token_ids.count(tokenizer.encode(t, special=True)[0])
        for t in ("<|image|>", "<|audio|>", "<|video|>")
    )
    assert placeholders == sum(item.tokens for item in prompt.media)


def test_the_encoder_free_model_takes_large_patches_and_raw_frames(
    tokenizer: Tokenizer, nano_template: ChatTemplate
) -> None:
    parts = user(image(), {"type": "audio", "audio": SECOND})
    prompt = assemble(parts, None, False, form(tokenizer, nano_template, vision=PATCHED, audio=FRAMED))
    seen, heard = prompt.media
    assert isinstance(seen, PreparedImage)
    assert isinstance(heard, PreparedSound)
    assert seen.patches.pixels.shape == (260, 48 * 48 * 3)
    assert heard.frames.shape == (25, 640)


def named(value: object) -> str:
    """What pytest calls a parameter: the same in each of its processes, so without addresses."""
    return re.sub(r" at 0x[0-9A-F]+", "", str(value))


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        (image(), 126),
        (image(tokens=70), 60),
        ({"type": "image_url", "image_url": {"url": "PNG", "detail": "low"}}, 60),
        ({"type": "image_url", "image_url": {"url": "PNG", "detail": "auto"}}, 126),
        ({"type": "image_url", "image_url": {"url": "PNG", "detail": "high"}}, 1080),
    ],
    ids=named,
)
def test_a_budget_is_the_part_s_then_the_request_s_then_the_model_s(
    tokenizer: Tokenizer, nano_template: ChatTemplate, part: dict[str, Any], tokens: int, tmp_path: Any
) -> None:
    PICTURE.save(tmp_path / "a.png")
    if "image_url" in part:
        part = {**part, "image_url": {**part["image_url"], "url": str(tmp_path / "a.png")}}
    how = form(tokenizer, nano_template, MediaOptions(image_tokens=140), vision=TOWER)
    assert [item.tokens for item in assemble(user(part), None, False, how).media] == [tokens]


def test_a_tool_s_picture_stands_behind_its_response(
    tokenizer: Tokenizer, edge_template: ChatTemplate
) -> None:
    """All responses of that message become messages of their own; text beside the picture stays."""
    calls = (ToolCall("draw", {"a": 1}), ToolCall("name", {}))
    messages = [
        Message("user", "Draw"),
        Message("assistant", tool_calls=calls),
        Message("tool", ["done", image()], name="draw"),  # type: ignore[arg-type]
        Message("tool", "cat", name="name"),
    ]
    prompt = assemble(messages, None, False, form(tokenizer, edge_template, vision=TOWER))
    response = shown(prompt, tokenizer).split("<tool_call|>")[-1]
    quote = '<|"|>'
    assert response == (
        f"<|tool_response>response:draw{{value:{quote}done{quote}}}<tool_response|>"
        "<|image>[260 image]<image|>"
        f"<|tool_response>response:name{{value:{quote}cat{quote}}}<tool_response|>"
    )


def test_a_mapping_beside_a_response_with_media_is_refused(
    tokenizer: Tokenizer, nano_template: ChatTemplate
) -> None:
    calls = (ToolCall("a", {}), ToolCall("b", {}))
    messages = [
        Message("user", "?"),
        Message("assistant", tool_calls=calls),
        Message("tool", {"x": 1}, name="a"),
        Message("tool", [image()], name="b"),  # type: ignore[arg-type]
    ]
    with pytest.raises(BadMessages, match="message 2 is a mapping beside a response with media"):
        assemble(messages, None, False, form(tokenizer, nano_template, vision=TOWER))


def test_frames_are_chosen_per_request(tokenizer: Tokenizer, nano_template: ChatTemplate) -> None:
    options = MediaOptions(video=VideoOptions(num_frames=2, frames_per_s=None))
    how = form(tokenizer, nano_template, options, vision=TOWER)
    prompt = assemble(user({"type": "video", "video": FILM}), None, False, how)
    assert len(prompt.media) == 2


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        (
            [{"type": "audio", "audio": SECOND}],
            UnsupportedInput,
            "message 0, part 0 holds audio input and this model takes text, images, video only",
        ),
        ([{"type": "image"}], BadMessages, "message 0, part 0 names no image"),
        ([image(tokens=71)], BadOption, "70, 140, 280, 560, 1120 tokens, not 71"),
        ([image(tokens="many")], BadMessages, "tokens of type str"),
        ([{"type": "image_url", "image_url": {"url": "x", "detail": "fine"}}], BadMedia, "detail is 'fine'"),
    ],
    ids=named,
)
def test_what_is_refused(
    tokenizer: Tokenizer, nano_template: ChatTemplate, parts: list[Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        assemble(user(*parts), None, False, form(tokenizer, nano_template, vision=TOWER))


def test_a_placeholder_in_the_text_is_text_and_a_trusted_one_is_refused(
    tokenizer: Tokenizer, nano_template: ChatTemplate
) -> None:
    how = form(tokenizer, nano_template, vision=TOWER)
    prompt = assemble(user("<|image|>", image()), None, False, how)
    assert len(prompt.media) == 1
    with pytest.raises(TemplateFailed, match="places for image, image and the messages hold image"):
        assemble(user("<|image|>", image()), None, False, how, trust_control_tokens=True)


def test_media_given_apart_stand_around_the_last_question() -> None:
    said = [Message("user", "A"), Message("assistant", "B"), Message("user", "C")]
    with_all = with_media(said, images=[1], audio=[2], videos=[3])
    kinds = [part if isinstance(part, str) else part.kind for part in with_all[2].content]  # type: ignore[union-attr,index]
    assert kinds == ["image", "video", "C", "audio"]
    assert with_media("Hi", [], [], []) == "Hi"
    with pytest.raises(BadMessages, match="there is none; add one"):
        with_media([Message("system", "A")], [1], [], [])


def test_what_takes_a_placeholder_s_place_equals_transformers(
    tokenizer: Tokenizer, nano_template: ChatTemplate
) -> None:
    """Their processor's own words for an image, a clip and a video."""
    words = SimpleNamespace(
        boi_token="<|image>",
        eoi_token="<image|>",
        image_token="<|image|>",
        video_token="<|video|>",
        boa_token="<|audio>",
        eoa_token="<audio|>",
        audio_token="<|audio|>",
    )
    reader = form(tokenizer, nano_template, vision=TOWER, audio=AUDIO).media
    text, _ = reader.read(MediaPart("image", PICTURE), "here")
    assert text == Gemma4Processor.replace_image_token(words, {"num_soft_tokens_per_image": [260]}, 0)
    for samples in (480, 8_000, 16_001, 480_000):
        clip = np.zeros(samples, dtype=np.float32)
        text, _ = reader.read(MediaPart("audio", (clip, 16_000)), "here")
        features = Gemma4AudioFeatureExtractor()([clip], sampling_rate=16_000, return_tensors="np")
        assert text == Gemma4Processor.replace_audio_token(words, features, 0)
    times = SimpleNamespace(fps=2.0, timestamps=[0.0, 0.5, 1.0, 1.5])
    theirs = Gemma4Processor.replace_video_token(
        words, {"num_soft_tokens_per_video": [55], "video_metadata": [times]}, 0
    )
    assert reader.read(MediaPart("video", FILM), "here")[0] == theirs


class Counted:
    """How often a function of prompt/media.py was called."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self._plain = getattr(media, name)
        monkeypatch.setattr(media, name, self)

    def __call__(self, *given: Any) -> Any:
        self.calls += 1
        return self._plain(*given)


def url_of(data: bytes) -> str:
    return f"data:;base64,{base64.b64encode(data).decode()}"


def test_a_file_is_decoded_once_whatever_way_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, cut = Counted("load_image", monkeypatch), Counted("to_patches", monkeypatch)
    data, path = as_bytes(PICTURE, "PNG"), tmp_path / "a.png"
    path.write_bytes(data)
    kept: Latest[Read] = Latest(10**9)
    config = replace(model_config(EDGE), vision=TOWER)
    first = MediaReader(config, MediaOptions(), kept).read(MediaPart("image", path), "here")
    for source in (path, str(path), {"url": str(path), "detail": "auto"}, data, url_of(data)):
        again = MediaReader(config, MediaOptions(image_tokens=280), kept).read(
            MediaPart("image", source), "there"
        )
        assert again is first
    assert (opened.calls, cut.calls) == (1, 1)
    MediaReader(config, MediaOptions(), kept).read(MediaPart("image", path, tokens=70), "here")
    assert opened.calls == 2
    path.write_bytes(as_bytes(PICTURE.rotate(180), "PNG"))
    turned = MediaReader(config, MediaOptions(), kept).read(MediaPart("image", path), "here")
    assert turned[1][0].digest != first[1][0].digest
    MediaReader(config, MediaOptions(), Latest(1000)).read(MediaPart("image", path), "here")
    assert opened.calls == 4


def test_sound_and_video_are_decoded_once_for_each_way_to_read_them(monkeypatch: pytest.MonkeyPatch) -> None:
    heard, seen = Counted("load_audio", monkeypatch), Counted("load_video", monkeypatch)
    clip, film = sound_file(sine(0.5)), video_file(brightening(8), 4)
    kept: Latest[Read] = Latest(10**9)
    config = replace(model_config(EDGE), vision=TOWER, audio=AUDIO)
    for options, films, clips in (
        (MediaOptions(), 1, 1),
        (MediaOptions(image_tokens=70), 1, 1),  # says nothing of sound and video
        (MediaOptions(video=VideoOptions(num_frames=2)), 2, 1),
        (MediaOptions(trim=True), 3, 2),
    ):
        reader = MediaReader(config, options, kept)
        assert len(reader.read(MediaPart("video", film), "here")[1]) == (2 if options.video.num_frames else 8)
        reader.read(MediaPart("audio", clip), "here")
        assert (seen.calls, heard.calls) == (films, clips)


def test_a_damaged_file_is_refused_each_time_where_it_stands() -> None:
    kept: Latest[Read] = Latest(10**9)
    reader = MediaReader(replace(model_config(EDGE), vision=TOWER), MediaOptions(), kept)
    for where in ("message 0, part 0", "message 2, part 1"):
        with pytest.raises(BadMedia, match=f"{where} is damaged"):
            reader.read(MediaPart("image", as_bytes(PICTURE, "PNG")[:900]), where)
