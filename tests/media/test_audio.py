"""Sound against transformers' feature extractors, and what people send that is none."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
from transformers.models.gemma4.processing_gemma4 import Gemma4Processor
from transformers.models.gemma4_unified.feature_extraction_gemma4_unified import (
    Gemma4UnifiedAudioFeatureExtractor,
)

from gemcut.errors import BadMedia
from gemcut.media import audio
from gemcut.media.audio import (
    FEWEST_SAMPLES,
    MOST_SAMPLES,
    load_audio,
    log_mel,
    raw_frames,
    soft_tokens_of_audio,
    soft_tokens_of_mel,
)
from tests.media.makers import (
    FILE_OF_A_SOUND,
    brightening,
    is_one_line_about,
    refusal_or,
    sine,
    sound_file,
    video_file,
)

SILENT = sound_file(np.zeros(999, np.float32))
LENGTHS = [FEWEST_SAMPLES, 320, 321, 480, 640, 641, 16_000, 16_001, 99_999, 479_999, MOST_SAMPLES]


def hiss(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(count).uniform(-1, 1, count).astype(np.float32)


def silence(count: int) -> NDArray[np.float32]:
    return np.zeros(count, np.float32)


def hum(count: int) -> NDArray[np.float32]:
    return sine(count / 16_000)


@pytest.mark.parametrize("count", LENGTHS)
@pytest.mark.parametrize("make", [hiss, silence, hum])
def test_log_mel_equals_the_valid_rows_of_transformers(
    make: Callable[[int], NDArray[np.float32]], count: int
) -> None:
    samples = make(count)
    theirs = Gemma4AudioFeatureExtractor()([samples], return_tensors="np")
    valid = theirs["input_features_mask"][0]
    ours = log_mel(samples)
    assert valid[: len(ours)].all()
    assert not valid[len(ours) :].any()
    assert ours.dtype == np.float32
    assert np.allclose(ours, theirs["input_features"][0][: len(ours)], atol=1e-6, rtol=0)


@pytest.mark.parametrize("count", LENGTHS)
def test_soft_tokens_are_as_many_as_the_processor_writes(count: int) -> None:
    mask = Gemma4AudioFeatureExtractor()([np.zeros(count, np.float32)])["input_features_mask"][0]
    words = SimpleNamespace(boa_token="", audio_token="a", eoa_token="")
    theirs = len(Gemma4Processor.replace_audio_token(words, {"input_features_mask": [mask]}, 0))
    assert soft_tokens_of_audio(count) == soft_tokens_of_mel(len(log_mel(hiss(count)))) == theirs <= 750


def test_a_clip_below_the_fewest_samples_gives_transformers_no_row() -> None:
    theirs = Gemma4AudioFeatureExtractor()([np.ones(FEWEST_SAMPLES - 1, np.float32)])
    assert not theirs["input_features_mask"][0].any()


@pytest.mark.parametrize("count", [1, 639, 640, 641, 16_000])
def test_raw_frames_equal_those_of_transformers(count: int) -> None:
    theirs = Gemma4UnifiedAudioFeatureExtractor()(hiss(count), return_tensors="np")["input_features"][0]
    assert np.array_equal(raw_frames(hiss(count), 640), theirs)


@pytest.mark.parametrize("kind", FILE_OF_A_SOUND)
def test_every_kind_of_file_is_heard(kind: str) -> None:
    heard = load_audio(sound_file(sine(0.5, 48_000), 48_000, kind), "x", trim=False)
    assert heard.dtype == np.float32
    assert 7900 <= len(heard) <= 9000  # some codecs fill up their last block
    strongest = np.abs(np.fft.rfft(heard[2000:6000])).argmax() * 16_000 / 4000
    assert strongest == pytest.approx(440, abs=4)
    assert heard[2000:6000].std() == pytest.approx(0.5 / np.sqrt(2), abs=0.02)


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_every_rate_becomes_16_khz(rate: int) -> None:
    for source in (sound_file(sine(0.5, rate), rate, "flac"), (sine(0.5, rate), rate)):
        heard = load_audio(source, "x", trim=False)
        assert abs(len(heard) - 8000) <= 1
        assert np.allclose(heard[500:7500], sine(0.5)[500:7500], atol=2e-3)


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_are_averaged(channels: int) -> None:
    samples = np.stack([sine(0.1) * (channel == 0) for channel in range(channels)], axis=1)
    for source in (sound_file(samples), (samples, 16_000)):
        assert np.allclose(load_audio(source, "x", trim=False), sine(0.1) / channels, atol=1e-4)


def test_16_khz_mono_is_taken_as_it_is() -> None:
    whole = (sine(0.1) * 32_767).astype(np.int16)
    expected = whole.astype(np.float32) / 32_768
    assert np.array_equal(load_audio((whole, 16_000), "x", trim=False), expected)
    assert np.array_equal(load_audio(sound_file(expected), "x", trim=False), expected)
    assert np.array_equal(load_audio((sine(0.1), 16_000), "x", trim=False), sine(0.1))


def test_30_ms_are_enough() -> None:
    assert len(log_mel(load_audio(sound_file(sine(0.03)), "x", trim=False))) == 2


def test_30_s_are_the_most_unless_trimmed() -> None:
    longest = hiss(MOST_SAMPLES)
    assert len(load_audio((longest, 16_000), "x", trim=False)) == MOST_SAMPLES
    longer = np.append(longest, np.float32(0))
    for source in ((longer, 16_000), sound_file(longer)):
        assert len(load_audio(source, "x", trim=True)) == MOST_SAMPLES
        with pytest.raises(
            BadMedia, match=r"x is 30.00 s long, and 30 s are the most; cut it, or give --trim"
        ):
            load_audio(source, "x", trim=False)


def test_an_hour_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    hour = sound_file(np.zeros(3600 * 1000, np.float32), 1000, "wav")
    resampled: list[int] = []
    mono = audio._mono
    monkeypatch.setattr(audio, "_mono", lambda frame: resampled.append(frame.samples) or mono(frame))
    with pytest.raises(BadMedia, match="x is 3600.00 s long"):
        load_audio(hour, "x", trim=False)
    assert sum(resampled) < 2 * MOST_SAMPLES


def test_a_stated_length_is_not_believed() -> None:
    data = bytearray(sound_file(sine(0.1)))
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\xf0\xff\xff\x7f"  # says that it is hours long
    assert np.allclose(load_audio(bytes(data), "x", trim=False), sine(0.1), atol=1e-4)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "x is empty"),
        (b"hello, this is a text\n" * 99, "x is no sound or video that can be read; give WAV"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1/a.ts\n", "x is no sound"),
        (b"ffconcat version 1.0\nfile '/etc/passwd'\n", "x is no sound"),
        (video_file(brightening(3), 10), "x has no sound"),
        (sound_file(sine(0.01)), r"x has 160 samples .* 161 \(10 ms\) are the fewest"),
        (SILENT[: SILENT.index(b"data") + 8], "x has 0 samples|x is no sound|x is damaged"),
        ((sine(0.1), 999), "x has 999 samples a second; give sound of 1000 to 768000"),
        ((sine(0.1), True), "x has 1 samples a second"),
        ((sine(0.1), "16000"), r"x is a tuple; give \(samples, rate_hz\)"),
        ((sine(0.1),), "x is a tuple"),
        ((np.zeros((2, 3, 4), np.float32), 16_000), "x is a tuple"),
        ((np.zeros((99, 9), np.float32), 16_000), "x has 9 channels; give sound of 1 to 8"),
        ((np.zeros((99, 0), np.float32), 16_000), "x has 0 channels"),
        ((np.zeros(0, np.float32), 16_000), "x has no samples"),
        ((np.zeros(999, np.int32), 16_000), "x holds int32; give floats of -1 to 1, or int16"),
        ((np.full(999, -3.5), 16_000), "x has samples up to 3.5; scale them to -1 to 1"),
        ((np.full(999, np.nan), 16_000), "x has samples up to nan"),
        (17, "x: int holds no media"),
    ],
)
def test_what_is_no_sound_is_refused(source: object, message: str) -> None:
    with pytest.raises(BadMedia, match=message):
        load_audio(source, "x", trim=False)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_do_worse_than_be_refused(data: bytes) -> None:
    for prefix in (b"", b"RIFF", b"fLaC", b"OggS", b"ID3"):
        heard_or_refused(prefix + data)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(FILE_OF_A_SOUND)), st.data())
def test_no_damage_does_worse_than_be_refused(kind: str, data: st.DataObject) -> None:
    whole = bytearray(SOUNDS[kind])
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=8)):
        whole[at] ^= 1 << data.draw(st.integers(0, 7))
    heard_or_refused(bytes(whole[: data.draw(st.integers(1, len(whole)))]))


SOUNDS = {kind: sound_file(sine(0.2, 48_000), 48_000, kind) for kind in FILE_OF_A_SOUND}


def heard_or_refused(data: bytes) -> None:
    match refusal_or(lambda: load_audio(data, "x", trim=True)):
        case BadMedia() as refusal:
            assert is_one_line_about("x ", refusal)
        case heard:
            assert isinstance(heard, np.ndarray)
            assert FEWEST_SAMPLES <= len(heard) <= MOST_SAMPLES
