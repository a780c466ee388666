"""Small media files for the tests, made on the spot."""

import io
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
from av.container import OutputContainer
from numpy.typing import NDArray
from PIL import Image

from gemcut.errors import BadMedia

FILE_OF_A_SOUND = {  # container: codec
    "wav": "pcm_s16le",
    "mp3": "libmp3lame",
    "flac": "flac",
    "ogg": "libopus",
    "mp4": "aac",
    "webm": "libopus",
    "adts": "aac",
    "aiff": "pcm_s16be",
    "matroska": "pcm_f32le",
}
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
FILE_OF_A_VIDEO = {"mp4": "libx264", "webm": "libvpx", "avi": "mpeg4", "gif": "gif", "matroska": "libvpx-vp9"}


def noise(width: int, height: int, channels: int = 3) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(values)


def as_bytes(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def sine(seconds: float, rate_hz: int = 16_000, hertz: float = 440.0) -> NDArray[np.float32]:
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def sound_file(samples: NDArray[np.float32], rate_hz: int = 16_000, kind: str = "wav") -> bytes:
    """A file of (n,) or (n, channels) samples of -1 to 1."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as file:
        _write(file, _sound_stream(file, FILE_OF_A_SOUND[kind], samples, rate_hz), samples, rate_hz)
    return buffer.getvalue()


def _sound_stream(
    file: OutputContainer, codec: str, samples: NDArray[np.float32], rate_hz: int
) -> av.AudioStream:
    layout = LAYOUTS[1 if samples.ndim == 1 else samples.shape[1]]
    return file.add_stream(codec, rate=48_000 if codec == "libopus" else rate_hz, layout=layout)


def _write(file: OutputContainer, stream: av.AudioStream, samples: NDArray[np.float32], rate_hz: int) -> None:
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "flt", stream.layout.name)
    frame.sample_rate = rate_hz
    stream.codec_context.open(strict=False)
    size = stream.codec_context.frame_size
    resampler = av.AudioResampler(stream.format, stream.layout, stream.rate, size if size else 4096)
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        file.mux(stream.encode(piece))
    file.mux(stream.encode(None))


def video_file(
    frames: list[NDArray[np.uint8]],
    frames_per_s: int,
    kind: str = "mp4",
    sound: NDArray[np.float32] | None = None,
) -> bytes:
    """A file of (height, width, 3) frames, with a sound track of 16 kHz where one is given."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as file:
        stream = file.add_stream(FILE_OF_A_VIDEO[kind], rate=frames_per_s)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "rgb8" if kind == "gif" else "yuv420p"
        heard = None if sound is None else _sound_stream(file, "aac", sound, 16_000)
        for index, values in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(values, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, frames_per_s)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if sound is not None and heard is not None:
            _write(file, heard, sound, 16_000)
    return buffer.getvalue()


def brightening(count: int, width: int = 64, height: int = 48) -> list[NDArray[np.uint8]]:
    """Grey frames, each brighter than the one before: a frame's brightness tells which it is."""
    return [np.full((height, width, 3), 20 + 200 * index // count, np.uint8) for index in range(count)]


def refusal_or(call: Callable[[], object]) -> object:
    """What a call returns, or the BadMedia that it raises: any other exception fails the test."""
    try:
        return call()
    except BadMedia as refusal:
        return refusal


def is_one_line_about(name: str, refusal: BadMedia) -> bool:
    return str(refusal).startswith(name) and len(str(refusal).splitlines()) == 1
