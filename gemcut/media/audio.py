"""A sound to what the audio inputs read: log-mel energies, or raw frames.

Values are those of transformers' feature extractors.
"""

from collections.abc import Iterable, Iterator

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from gemcut.errors import BadMedia
from gemcut.media.container import opened
from gemcut.media.source import OpenUrl, media_bytes, open_url

RATE_HZ = 16_000
MOST_SECONDS = 30
MOST_SAMPLES = MOST_SECONDS * RATE_HZ
FEWEST_SAMPLES = 161  # they give one row of log_mel
RATES_HZ = range(1_000, 768_001)  # that sound may have before it is resampled
MOST_CHANNELS = 8  # libav's frames hold the pointers of eight; PyAV has crashed on more
LOUDEST = 2.0  # lossy codecs overshoot 1; more is no float of -1 to 1

HOP, WINDOW, FFT = 160, 320, 512  # samples
NUM_MELS, FLOOR = 128, 1e-3


def load_audio(source: object, name: str, trim: bool, open_url: OpenUrl = open_url) -> NDArray[np.float32]:
    """Mono sound at 16 kHz: (num_samples,) float32 of -1 to 1, or a little beyond where the codec was lossy.

    source: what media_bytes takes, or (values, rate_hz) with values (n,) or (n, channels) of floats of -1
    to 1 or int16.
    trim: whether what comes after 30 s is cut away; otherwise longer sound raises BadMedia.
    Raises BadMedia, with `name` in the message, for what is no sound, is damaged, too short or too long.
    """
    if isinstance(source, tuple):
        values, rate_hz = _checked_values(source, name)
        length_s = len(values) / rate_hz
        samples = _beginning(_resampled([_frame(values, rate_hz)], name))
    else:
        samples, length_s = _decoded(media_bytes(source, name, open_url), name)
    check_shortest(samples, name)
    if len(samples) > MOST_SAMPLES and not trim:
        long = f"{length_s:.2f} s" if length_s > MOST_SAMPLES / RATE_HZ else "more than 30 s"
        raise BadMedia(f"{name} is {long} long, and 30 s are the most; cut it, or give --trim (trim=True)")
    return samples[:MOST_SAMPLES]


def sound_pieces(data: bytes, name: str) -> Iterator[NDArray[np.float32]]:
    """A file's sound as load_audio has it, however long, in pieces that are decoded when they are asked for.

    Raises BadMedia, with `name` in the message, for what is no sound or is damaged, once it comes to that.
    """
    with opened(data, name) as container:
        yield from _sound_of(container, name)


def check_shortest(samples: NDArray[np.float32], name: str) -> None:
    """Raises BadMedia for fewer than FEWEST_SAMPLES."""
    if len(samples) < FEWEST_SAMPLES:
        raise BadMedia(
            f"{name} has {len(samples)} samples of sound at 16 kHz, and {FEWEST_SAMPLES} (10 ms) are the "
            "fewest; give a longer clip"
        )


def log_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-mel energies of mono sound at 16 kHz, one row per 10 ms.

    samples: (num_samples,), at least FEWEST_SAMPLES.  Returns (T, 128) float32, T = (num_samples − 1) // 160.
    Source: facts/architecture.md §11.
    """
    assert len(samples) >= FEWEST_SAMPLES, len(samples)
    padded = np.concatenate([np.zeros(WINDOW // 2, np.float32), samples])  # the first row is centred on 0
    # a row counts if the sample after its window is there too
    rows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW + 1)[::HOP, :WINDOW]  # (T, 320)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    magnitudes = np.abs(np.fft.rfft(rows * hann.astype(np.float32), n=FFT))  # (T, 320) -> (T, 257)
    energies = magnitudes @ _mel_filters()  # (T, 257) -> (T, 128), float64
    return np.log(energies + FLOOR).astype(np.float32)


def soft_tokens_of_mel(num_rows: int) -> int:
    """How many soft tokens the audio tower makes of so many rows of log_mel: 25 per second."""
    return -(-num_rows // 4)  # two convolutions of stride 2


def soft_tokens_of_audio(num_samples: int) -> int:
    """How many soft tokens the audio tower makes of so many samples: 750 for 30 s."""
    return soft_tokens_of_mel((num_samples - 1) // HOP)


def raw_frames(samples: NDArray[np.float32], per_token: int) -> NDArray[np.float32]:
    """The samples in rows of `per_token`, the last one filled up with zeros: (N, per_token) float32."""
    return np.pad(samples, (0, -len(samples) % per_token)).reshape(-1, per_token)


def _mel_filters() -> NDArray[np.float64]:
    """Triangles evenly spaced on HTK's mel scale from 0 to 8000 Hz: (257, 128)."""
    highest_mel = 2595 * np.log10(1 + RATE_HZ / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, highest_mel, NUM_MELS + 2) / 2595) - 1)  # (130,) Hz
    widths = np.diff(corners)
    distances = corners - np.linspace(0, RATE_HZ / 2, FFT // 2 + 1)[:, None]  # (257, 130)
    falling, rising = distances[:, 2:] / widths[1:], -distances[:, :-2] / widths[:-1]
    return np.maximum(0, np.minimum(falling, rising))


def _decoded(data: bytes, name: str) -> tuple[NDArray[np.float32], float]:
    """The first 30 s and a little of a file's sound, and the length in seconds that the file states, or 0."""
    with opened(data, name) as container:
        samples = _beginning(_sound_of(container, name))
        stated = container.duration
    return samples, 0.0 if stated is None else stated / av.time_base


def _sound_of(container: InputContainer, name: str) -> Iterator[NDArray[np.float32]]:
    if not container.streams.audio:
        raise BadMedia(f"{name} has no sound; give a file with sound")
    return _resampled(container.decode(container.streams.audio[0]), name)


def _beginning(pieces: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """All of them as one, up to soon after MOST_SAMPLES, however many follow."""
    taken, length = [np.zeros(0, np.float32)], 0
    for piece in pieces:
        taken.append(piece)
        length += len(piece)
        if length > MOST_SAMPLES:
            break
    return np.concatenate(taken)


def _resampled(frames: Iterable[av.AudioFrame], name: str) -> Iterator[NDArray[np.float32]]:
    """Frames of any rate as mono at 16 kHz."""
    resampler = av.AudioResampler(format="flt", rate=RATE_HZ)
    for frame in frames:
        _check_sound(frame.layout.nb_channels, frame.sample_rate, name)
        yield from map(_mono, resampler.resample(frame))
    yield from map(_mono, resampler.resample(None))


def _mono(frame: av.AudioFrame) -> NDArray[np.float32]:
    values = frame.to_ndarray().reshape(-1, frame.layout.nb_channels)  # interleaved -> (samples, channels)
    mono: NDArray[np.float32] = values.mean(axis=1, dtype=np.float32)
    return mono


def _check_sound(channels: int, rate_hz: int, name: str) -> None:
    if rate_hz not in RATES_HZ:
        raise BadMedia(
            f"{name} has {rate_hz} samples a second; give sound of {RATES_HZ[0]} to {RATES_HZ[-1]}"
        )
    if not 1 <= channels <= MOST_CHANNELS:
        raise BadMedia(f"{name} has {channels} channels; give sound of 1 to {MOST_CHANNELS}")


def _checked_values(source: tuple[object, ...], name: str) -> tuple[NDArray[np.float32], int]:
    """Mono samples of -1 to 1 and their rate, of a tuple that a user gave."""
    match source:
        case (np.ndarray() as values, int() | np.integer() as rate_hz) if values.ndim in (1, 2):
            columns = values if values.ndim == 2 else values[:, None]
        case _:
            raise BadMedia(f"{name} is a tuple; give (samples, rate_hz) with samples (n,) or (n, channels)")
    _check_sound(columns.shape[1], int(rate_hz), name)
    if len(columns) == 0:
        raise BadMedia(f"{name} has no samples; give a longer clip")
    if columns.dtype == np.int16:
        return columns.mean(axis=1, dtype=np.float32) / 32_768, int(rate_hz)
    if not np.issubdtype(columns.dtype, np.floating):
        raise BadMedia(f"{name} holds {columns.dtype}; give floats of -1 to 1, or int16")
    loudest = np.abs(columns).max()
    if not loudest <= LOUDEST:  # true for NaN
        raise BadMedia(f"{name} has samples up to {loudest:g}; scale them to -1 to 1")
    return columns.mean(axis=1, dtype=np.float32), int(rate_hz)


def _frame(values: NDArray[np.float32], rate_hz: int) -> av.AudioFrame:
    """No more of the values than load_audio looks at."""
    frame = av.AudioFrame.from_ndarray(values[None, : 31 * rate_hz], format="flt", layout="mono")
    frame.sample_rate = rate_hz
    return frame
