"""A video to the frames that the model sees, and when each is seen.

Which frames, and their times, are transformers' choice.
"""

import math
from dataclasses import dataclass

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from gemcut.errors import BadMedia, BadOption
from gemcut.media.audio import load_audio
from gemcut.media.container import opened
from gemcut.media.image import MOST_PIXELS, check_pixels
from gemcut.media.source import OpenUrl, media_bytes, open_url

USUAL_FRAMES = 32
TOKENS_OF_A_FRAME = 70  # the most soft tokens of each
MOST_FRAMES = 60  # the models are made for 60 s at one frame a second
MOST_KEPT_PIXELS = 512_000_000  # of the chosen frames: 60 of 4K, one and a half gigabytes
MOST_DECODED_PIXELS = 40_000_000_000  # of all frames up to the last chosen one: 10 minutes of 1080p
LEAST_WORK = 100_000  # pixels: a smaller frame takes as long


@dataclass(frozen=True)
class VideoOptions:
    """Which frames are seen: so many, or so many a second, spread evenly over the video.

    Neither: 32, or all of a shorter video.
    Raises BadOption for both, and for what no video can meet.
    """

    num_frames: int | None = None
    frames_per_s: float | None = None

    def __post_init__(self) -> None:
        frames, rate = self.num_frames, self.frames_per_s
        if frames is not None and rate is not None:
            raise BadOption(
                f"a video takes {frames} frames or {rate:g} frames a second, not both; leave one out"
            )
        if frames is not None and not 1 <= frames <= MOST_FRAMES:
            raise BadOption(f"a video takes 1 to {MOST_FRAMES} frames, not {frames}")
        if rate is not None and not 0 < rate < math.inf:
            raise BadOption(f"a video takes more than 0 frames a second, not {rate:g}")


DEFAULT_FRAMES = VideoOptions()


@dataclass(frozen=True)
class Video:
    """What is seen of a video.

    frames: RGB, upright.  seconds: the time of each.  has_sound: whether load_sound_of_video finds any.
    """

    frames: tuple[Image.Image, ...]
    seconds: tuple[float, ...]
    has_sound: bool


@dataclass(frozen=True)
class _Track:
    """What a file says of its pictures.  num_frames: packets, of which some may show nothing."""

    num_frames: int
    frames_per_s: float
    width: int
    height: int
    has_sound: bool


def load_video(source: object, name: str, options: VideoOptions, open_url: OpenUrl = open_url) -> Video:
    """The chosen frames of a video.

    source: what media_bytes takes, or (frames, frames_per_s) with frames (T, height, width, 3) uint8.
    Raises BadMedia, with `name` in the message, for what is no video, is damaged, or is too large.
    """
    if isinstance(source, tuple):
        values, rate = _checked_values(source, name)
        chosen = frames_of(len(values), rate, options, name)
        images = [Image.fromarray(values[index]) for index in chosen]
        return Video(tuple(images), tuple(index / rate for index in chosen), has_sound=False)
    data = media_bytes(source, name, open_url)
    track = _measured(data, name)
    rate, chosen = track.frames_per_s, frames_of(track.num_frames, track.frames_per_s, options, name)
    _check_work(track, chosen, name)
    images, num_seen = _frames_at(data, chosen, name)
    if len(images) < len(chosen):  # some packets show nothing, as VP8's alternate references
        chosen = frames_of(num_seen, rate, options, name)
        images, _ = _frames_at(data, chosen, name)
    if len(images) < len(chosen):  # damaged files do not decode twice alike
        raise BadMedia(f"{name} is damaged (its frames cannot be counted); give a whole file")
    return Video(tuple(images), tuple(index / rate for index in chosen), track.has_sound)


def load_sound_of_video(
    source: object, name: str, trim: bool, open_url: OpenUrl = open_url
) -> NDArray[np.float32]:
    """The sound of a video, as load_audio gives it.  Raises BadMedia where it has none."""
    if isinstance(source, tuple):
        raise BadMedia(f"{name} is frames without sound; give a file with sound")
    return load_audio(source, name, trim, open_url)


def frames_of(total: int, frames_per_s: float, options: VideoOptions, name: str) -> tuple[int, ...]:
    """The indices of the frames that are seen.

    total, frames_per_s: of the video.
    Raises BadMedia for a video without frames, or with fewer than asked for, or where MOST_FRAMES is not
    enough.
    """
    if total == 0:
        raise BadMedia(f"{name} has no pictures that can be shown; give a video")
    wanted = min(USUAL_FRAMES, total) if options.num_frames is None else options.num_frames
    if options.frames_per_s is not None:
        many = total / frames_per_s * options.frames_per_s
        if many >= MOST_FRAMES + 1:
            raise BadMedia(
                f"{name} gives {many:.0f} frames at {options.frames_per_s:g} a second, and {MOST_FRAMES} are "
                "the most; choose fewer a second, or a number of frames (32 is usual)"
            )
        wanted = max(1, int(many))
    if wanted > total:
        raise BadMedia(f"{name} has {total} frames, and {wanted} are asked for; ask for at most {total}")
    return tuple(index * total // wanted for index in range(wanted))


def timestamp(seconds: float) -> str:
    """When a frame is seen, as the prompt says it: minutes and seconds, `MM:SS`."""
    return f"{int(seconds // 60):02d}:{int(seconds % 60):02d}"


def _checked_values(source: tuple[object, ...], name: str) -> tuple[NDArray[np.uint8], float]:
    """Frames and their rate, of a tuple that a user gave."""
    match source:
        case (np.ndarray() as values, int() | float() | np.number() as rate) if (
            values.dtype == np.uint8 and values.ndim == 4 and values.shape[3] == 3
        ):
            if not 0 < rate < math.inf:
                raise BadMedia(f"{name} has {rate:g} frames a second; give more than 0")
            check_pixels(values.shape[2], values.shape[1], name)
            return values, float(rate)
    raise BadMedia(
        f"{name} is a tuple; give (frames, frames_per_s) with frames (T, height, width, 3) of uint8"
    )


def _pictures(container: InputContainer, name: str) -> VideoStream:
    """The first stream of moving pictures: a song's cover is none."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    raise BadMedia(f"{name} has no moving pictures; give a video")


def _measured(data: bytes, name: str) -> _Track:
    with opened(data, name) as container:
        stream = _pictures(container, name)
        packets = container.demux(stream)
        num_frames = sum(1 for packet in packets if packet.size > 0 and not packet.is_discard)
        rate = stream.average_rate if stream.average_rate else stream.guessed_rate
        if not rate or rate < 0:
            raise BadMedia(f"{name} does not say how many frames a second it has; convert it to MP4")
        return _Track(num_frames, float(rate), stream.width, stream.height, bool(container.streams.audio))


def _check_work(track: _Track, chosen: tuple[int, ...], name: str) -> None:
    """Raises BadMedia where the frames would take too much memory, or too long."""
    check_pixels(track.width, track.height, name)
    pixels, size = track.width * track.height, f"{track.width} × {track.height}"
    if len(chosen) * pixels > MOST_KEPT_PIXELS:
        raise BadMedia(
            f"{name}: {len(chosen)} frames of {size} pixels do not fit; "
            f"choose at most {MOST_KEPT_PIXELS // pixels}, or make the video smaller"
        )
    if (chosen[-1] + 1) * max(pixels, LEAST_WORK) > MOST_DECODED_PIXELS:
        seconds = MOST_DECODED_PIXELS / max(pixels, LEAST_WORK) / track.frames_per_s
        raise BadMedia(
            f"{name}: {chosen[-1] + 1} frames of {size} pixels take too long; "
            f"cut the video to {seconds:.0f} s, or make it smaller"
        )


def _frames_at(data: bytes, chosen: tuple[int, ...], name: str) -> tuple[list[Image.Image], int]:
    """The chosen frames that are there, upright, and how many frames were decoded to find them."""
    images, num_seen, kept = list[Image.Image](), 0, 0
    with opened(data, name) as container:
        stream = _pictures(container, name)
        stream.thread_type = "AUTO"
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # a file may grow on the way
        for frame in container.decode(stream):
            if num_seen == chosen[len(images)]:
                kept += frame.width * frame.height
                if kept > MOST_KEPT_PIXELS:
                    raise BadMedia(f"{name}: its frames grow too large; make the video smaller")
                images.append(_upright(frame, name))
            num_seen += 1
            if len(images) == len(chosen):
                break
    return images, num_seen


def _upright(frame: av.VideoFrame, name: str) -> Image.Image:
    check_pixels(frame.width, frame.height, name)
    quarters = round(frame.rotation / 90)  # counterclockwise, as rot90 turns
    return Image.fromarray(np.rot90(frame.to_ndarray(format="rgb24"), quarters))
