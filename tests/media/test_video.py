"""Which frames of a video are seen, when, against transformers; and what people send that is no video."""

import io
import math
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.gemma4.processing_gemma4 import Gemma4Processor
from transformers.video_utils import VideoMetadata, default_sample_indices_fn
from transformers.video_utils import load_video as load_theirs

from gemcut.errors import BadMedia, BadOption
from gemcut.media import video
from gemcut.media.video import (
    DEFAULT_FRAMES,
    Video,
    VideoOptions,
    frames_of,
    load_sound_of_video,
    load_video,
    timestamp,
)
from tests.media.makers import (
    FILE_OF_A_VIDEO,
    as_bytes,
    brightening,
    is_one_line_about,
    noise,
    refusal_or,
    sine,
    sound_file,
    video_file,
)

FILES = {kind: video_file(brightening(40), 10, kind) for kind in FILE_OF_A_VIDEO}
WITH_SOUND = video_file(brightening(20), 10, "mp4", sine(2))


@pytest.mark.parametrize("total", [32, 33, 60, 61, 100, 251, 1800])
@pytest.mark.parametrize("rate", [24.0, 30_000 / 1001, 60.0])
def test_frames_and_times_are_those_of_transformers(total: int, rate: float) -> None:
    chosen = [VideoOptions(), VideoOptions(num_frames=1), VideoOptions(num_frames=17)]
    chosen += [VideoOptions(frames_per_s=wanted) for wanted in (0.01, 0.5, 1.0, 1.9)]
    for options in chosen:
        if options.frames_per_s is not None and total / rate * options.frames_per_s >= 61:
            continue  # refused, below
        metadata = VideoMetadata(total_num_frames=total, fps=rate)
        frames = 32 if options == VideoOptions() else options.num_frames
        metadata.frames_indices = default_sample_indices_fn(metadata, frames, options.frames_per_s)
        ours = frames_of(total, rate, options, "x")
        assert list(ours) == metadata.frames_indices.tolist()
        words = SimpleNamespace(boi_token="", video_token="", eoi_token="")
        inputs = {"num_soft_tokens_per_video": [0], "video_metadata": [metadata]}
        theirs = Gemma4Processor.replace_video_token(words, inputs, 0)
        assert " ".join(f"{timestamp(index / rate)} " for index in ours) == theirs


def test_timestamps() -> None:
    assert [timestamp(s) for s in (0, 59.99, 60, 3599, 6000)] == [
        "00:00",
        "00:59",
        "01:00",
        "59:59",
        "100:00",
    ]


@pytest.mark.parametrize(
    "kind", ["mp4", "avi"]
)  # transformers wants a file that states how many frames it has
def test_pixels_equal_those_of_transformers(kind: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(video_file([np.asarray(noise(70, 50))] * 9, 5, kind))
    theirs, metadata = load_theirs(str(tmp_path / "x"), num_frames=4, backend="pyav")
    ours = load_video(tmp_path / "x", "x", VideoOptions(num_frames=4))
    assert np.array_equal(np.stack([np.asarray(frame) for frame in ours.frames]), theirs)
    assert list(ours.seconds) == metadata.timestamps


@pytest.mark.parametrize("kind", FILE_OF_A_VIDEO)
def test_every_kind_of_file_is_seen(kind: str) -> None:
    seen = load_video(FILES[kind], "x", VideoOptions(num_frames=4))
    assert seen.seconds == (0, 1, 2, 3)
    for index, frame in enumerate(seen.frames):
        assert frame.mode == "RGB"
        assert frame.size == (64, 48)
        assert np.asarray(frame)[:, :, 1].mean() == pytest.approx(20 + 50 * index, abs=18)  # gif: few colours
    assert not seen.has_sound


def test_a_short_video_is_seen_whole() -> None:
    assert load_video(video_file(brightening(5), 10), "x", DEFAULT_FRAMES).seconds == (0, 0.1, 0.2, 0.3, 0.4)


def test_its_sound_is_heard() -> None:
    assert load_video(WITH_SOUND, "x", DEFAULT_FRAMES).has_sound
    assert len(load_sound_of_video(WITH_SOUND, "x", trim=False)) == pytest.approx(32_000, abs=2048)
    with pytest.raises(BadMedia, match="x has no sound"):
        load_sound_of_video(FILES["mp4"], "x", trim=False)
    with pytest.raises(BadMedia, match="x is frames without sound"):
        load_sound_of_video((np.zeros((3, 4, 4, 3), np.uint8), 5), "x", trim=False)


def test_an_array_with_its_rate_is_a_video() -> None:
    values = np.stack(brightening(40))
    seen = load_video((values, 20.0), "x", VideoOptions(frames_per_s=2))
    assert seen.seconds == (0, 0.5, 1, 1.5)
    assert [np.asarray(frame).tolist() for frame in seen.frames] == values[::10].tolist()


@pytest.mark.parametrize(("degrees", "bright_corner"), [(90, (0, -1)), (180, (-1, -1)), (270, (-1, 0))])
def test_a_phone_held_upright_gives_upright_frames(degrees: int, bright_corner: tuple[int, int]) -> None:
    """The file says by how much a player turns its frames clockwise; the bright corner moves along."""
    values = np.zeros((48, 64, 3), np.uint8)
    values[:16, :16] = 255
    data = bytearray(video_file([values] * 3, 10))
    sine_, cosine = round(math.sin(math.radians(degrees))), round(math.cos(math.radians(degrees)))
    matrix = (cosine << 16, sine_ << 16, 0, -sine_ << 16, cosine << 16, 0, 0, 0, 1 << 30)
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    frame = np.asarray(load_video(bytes(data), "x", DEFAULT_FRAMES).frames[0])
    assert frame.shape == ((48, 64, 3) if degrees == 180 else (64, 48, 3))
    assert frame[bright_corner].mean() > 200
    assert frame.mean() < 50


def test_packets_that_show_nothing_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """VP8 stores pictures that are only referred to; the choice was then among frames that never come."""
    measured = video._measured
    monkeypatch.setattr(
        video,
        "_measured",
        lambda data, name: video._Track(**vars(measured(data, name)) | {"num_frames": 44}),
    )
    assert load_video(FILES["webm"], "x", VideoOptions(num_frames=40)).seconds[-1] == 3.9


def test_frames_that_are_not_asked_for_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    upright, turned = video._upright, []
    monkeypatch.setattr(video, "_upright", lambda frame, name: turned.append(0) or upright(frame, name))
    load_video(FILES["mp4"], "x", VideoOptions(num_frames=2))
    assert len(turned) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_frames": 4, "frames_per_s": 1.0}, "a video takes 4 frames or 1 frames a second, not both"),
        ({"num_frames": 0}, "a video takes 1 to 60 frames, not 0"),
        ({"num_frames": 61}, "a video takes 1 to 60 frames, not 61"),
        ({"frames_per_s": 0.0}, "a video takes more than 0 frames a second, not 0"),
        ({"frames_per_s": math.nan}, "not nan"),
        ({"frames_per_s": math.inf}, "not inf"),
    ],
)
def test_options_that_no_video_meets_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(BadOption, match=message):
        VideoOptions(**options)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "x is empty"),
        (b"hello", "x is no sound or video"),
        (as_bytes(noise(8, 8), "PNG"), "x is no sound or video"),
        (sound_file(sine(0.1)), "x has no moving pictures; give a video"),
        (FILES["mp4"][:900], "x is no sound or video|x is damaged"),
        ((np.zeros((3, 4, 4, 3), np.float32), 5), r"x is a tuple; give \(frames, frames_per_s\)"),
        ((np.zeros((3, 4, 4), np.uint8), 5), "x is a tuple"),
        ((np.zeros((3, 4, 4, 3), np.uint8),), "x is a tuple"),
        ((np.zeros((3, 4, 4, 3), np.uint8), 0), "x has 0 frames a second"),
        ((np.zeros((0, 4, 4, 3), np.uint8), 5), "x has no pictures"),
        ((np.zeros((3, 0, 4, 3), np.uint8), 5), "x is 4 × 0 pixels"),
        (17, "x: int holds no media"),
    ],
)
def test_what_is_no_video_is_refused(source: object, message: str) -> None:
    with pytest.raises(BadMedia, match=message):
        load_video(source, "x", DEFAULT_FRAMES)


def test_a_frame_beyond_the_most_pixels_is_refused_before_it_is_decoded() -> None:
    data = bytearray(FILES["gif"])
    data[6:10] = (16_000).to_bytes(2, "little") * 2
    with pytest.raises(BadMedia, match="x has 256 million pixels, and 64 are the most"):
        load_video(bytes(data), "x", DEFAULT_FRAMES)


def test_a_song_with_a_cover_is_no_video() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as file:
        cover = file.add_attachment("cover.png", "image/png", as_bytes(noise(8, 8), "PNG"))
        sound = file.add_stream("pcm_s16le", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), "s16", "mono")
        frame.sample_rate = 16_000
        file.mux([*sound.encode(frame), *sound.encode(None)])
        assert cover is not None
    with pytest.raises(BadMedia, match="x has no moving pictures"):
        load_video(buffer.getvalue(), "x", DEFAULT_FRAMES)


def test_asking_for_more_frames_than_there_are_is_refused() -> None:
    with pytest.raises(BadMedia, match="x has 40 frames, and 41 are asked for; ask for at most 40"):
        load_video(FILES["mp4"], "x", VideoOptions(num_frames=41))


def test_more_than_60_frames_are_refused_with_what_to_choose() -> None:
    with pytest.raises(BadMedia, match="x gives 61 frames at 1 a second, and 60 are the most; choose fewer"):
        frames_of(61 * 24, 24, VideoOptions(frames_per_s=1), "x")
    with pytest.raises(BadMedia, match="x gives inf frames"):
        frames_of(10**300, 1e-300, VideoOptions(frames_per_s=1), "x")


@pytest.mark.parametrize(
    ("limit", "most", "message"),
    [
        ("MOST_KEPT_PIXELS", 64 * 48 * 3, "x: 4 frames of 64 × 48 pixels do not fit; choose at most 3"),
        (
            "MOST_DECODED_PIXELS",
            1_000_000,
            "x: 31 frames of 64 × 48 pixels take too long; cut the video to 1 s",
        ),
    ],
)
def test_work_has_an_end(limit: str, most: int, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, limit, most)
    with pytest.raises(BadMedia, match=message):
        load_video(FILES["mp4"], "x", VideoOptions(num_frames=4))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_do_worse_than_be_refused(data: bytes) -> None:
    for prefix in (b"", b"\0\0\0\x18ftypmp42", b"\x1a\x45\xdf\xa3", b"GIF89a"):
        seen_or_refused(prefix + data)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(sorted(FILE_OF_A_VIDEO)), st.data())
def test_no_damage_does_worse_than_be_refused(kind: str, data: st.DataObject) -> None:
    whole = bytearray(FILES[kind])
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=8)):
        whole[at] ^= 1 << data.draw(st.integers(0, 7))
    seen_or_refused(bytes(whole[: data.draw(st.integers(1, len(whole)))]))


def seen_or_refused(data: bytes) -> None:
    match refusal_or(lambda: load_video(data, "x", VideoOptions(num_frames=3))):
        case BadMedia() as refusal:
            assert is_one_line_about("x", refusal)
        case seen:
            assert isinstance(seen, Video)
            assert len(seen.frames) == len(seen.seconds) == 3
