"""Media of a prompt: what the model's towers read of each part, and the placeholders that stand for it."""

import hashlib
import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gemcut.config import AudioFrameConfig, ModelConfig, VisionPatchConfig, VisionTowerConfig
from gemcut.errors import BadMessages, TemplateFailed, UnsupportedInput
from gemcut.media.audio import load_audio, log_mel, raw_frames, soft_tokens_of_mel
from gemcut.media.image import BUDGETS, Patches, check_budget, load_image, to_patches
from gemcut.media.source import OpenUrl, file_name, media_bytes, open_url
from gemcut.media.video import (
    DEFAULT_FRAMES,
    TOKENS_OF_A_FRAME,
    VideoOptions,
    load_sound_of_video,
    load_video,
    timestamp,
)
from gemcut.prompt.latest import Latest
from gemcut.prompt.messages import MediaKind, MediaPart, Message
from gemcut.prompt.tokenizer import MEDIA_TOKENS

OF_DETAIL = {"low": BUDGETS[0], "high": BUDGETS[-1]}  # OpenAI's words for an image's budget
KEPT_BYTES = 256 * 2**20  # of prepared media
PLACEHOLDERS: dict[str, MediaKind] = {
    MEDIA_TOKENS["image"]: "image",
    MEDIA_TOKENS["audio"]: "audio",
    MEDIA_TOKENS["video"]: "video",
}


@dataclass(frozen=True, kw_only=True)
class MediaOptions:
    """How images, sound and video are read.

    image_tokens: the most soft tokens of an image that says nothing itself; None takes the model's own.
    video: which of its frames are seen.  video_sound: whether its sound is heard too.
    trim: whether sound is cut after 30 s instead of refused.
    open_url: what opens the paths and URLs that messages name.
    Raises BadOption for image_tokens that the models do not know.
    """

    image_tokens: int | None = None
    video: VideoOptions = DEFAULT_FRAMES
    video_sound: bool = False
    trim: bool = False
    open_url: OpenUrl = open_url

    def __post_init__(self) -> None:
        if self.image_tokens is not None:
            check_budget(self.image_tokens)


@dataclass(frozen=True)
class PreparedImage:
    """An image, or a frame of a video, as the vision input takes it.

    tokens: how many soft tokens it gives.  digest: equal for equal content.
    """

    patches: Patches
    tokens: int
    digest: bytes

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.patches.pixels.nbytes


@dataclass(frozen=True)
class PreparedSound:
    """A clip as the audio input takes it.

    frames: (T, 128) mel features, or (T, samples) raw frames, float32.
    tokens: how many soft tokens it gives.  digest: equal for equal content.
    """

    frames: NDArray[np.float32]
    tokens: int
    digest: bytes

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.frames.nbytes


Prepared = PreparedImage | PreparedSound
Read = tuple[str, tuple[Prepared, ...]]  # what takes a placeholder's place, and the media that it stands for


class MediaReader:
    """Reads the media of one model's prompts.

    kept: what it read latest of files, by their content, for the next reader of the same model too; None
    reads everything anew.
    """

    def __init__(
        self,
        config: ModelConfig,
        options: MediaOptions,
        kept: Latest[Read] | None = None,
        open_url: OpenUrl = open_url,
    ) -> None:
        self.config = config
        self.options = options
        self._kept = Latest[Read](0) if kept is None else kept
        self._open_url = open_url

    def check_kinds(self, messages: Sequence[Message]) -> None:
        """Raises UnsupportedInput for a kind of input that the model does not take, BadMessages for none."""
        for where, part in media_parts(messages):
            takes = self.config.audio if part.kind == "audio" else self.config.vision
            if takes is None:
                self._refuse(where, part.kind)
            if part.kind == "video" and self.options.video_sound and self.config.audio is None:
                self._refuse(f"{where}: the sound of its video", "audio")
            if part.source is None:
                raise BadMessages(f"{where} names no {part.kind}; give a path, a URL or the data")

    def read(self, part: MediaPart, where: str) -> Read:
        """The text that takes a placeholder's place, and the media that its own placeholders stand for.

        Raises BadMedia, BadOption, BadMessages.
        """
        if isinstance(part.source, tuple | np.ndarray | Image.Image):  # no file: nothing to decode
            return self._read(part.source, part, where)
        data = media_bytes(part.source, where, self._open_url)
        key = hashlib.blake2b(data).digest(), part.kind, self._options_of(part)
        read = self._kept.get(key)
        if read is None:
            name = file_name(part.source)
            read = self._read(data, part, where if name is None else f"{where} ({name})")
            self._kept.put(key, read, sum(item.nbytes for item in read[1]))
        return read

    def _options_of(self, part: MediaPart) -> Hashable:
        """What besides its content decides how a medium is read."""
        options = self.options
        match part.kind:
            case "image":
                return self._budget(part)
            case "audio":
                return options.trim
            case "video":
                return options.video, options.video_sound, options.trim

    def _read(self, source: object, part: MediaPart, where: str) -> Read:
        if part.kind == "image":
            image = self._image(load_image(source, where), self._budget(part))
            return _image_text("image", image.tokens), (image,)
        if part.kind == "audio":
            sound = self._sound(load_audio(source, where, self.options.trim))
            return _sound_text(sound.tokens), (sound,)
        return self._video(source, where)

    def _video(self, source: object, where: str) -> Read:
        options = self.options
        video = load_video(source, where, options.video)
        frames = tuple(self._image(frame, TOKENS_OF_A_FRAME) for frame in video.frames)
        text = " ".join(
            f"{timestamp(seconds)} {_image_text('video', frame.tokens)}"
            for seconds, frame in zip(video.seconds, frames, strict=True)
        )
        if not (options.video_sound and video.has_sound):
            return text, frames
        sound = self._sound(load_sound_of_video(source, where, options.trim))
        return text + _sound_text(sound.tokens), (*frames, sound)

    def _budget(self, part: MediaPart) -> int:
        """The most soft tokens of an image: its own, what its `detail` says, the request's, the model's."""
        detail = str(part.source.get("detail")) if isinstance(part.source, dict) else "auto"
        asked = self.options.image_tokens
        for tokens in (part.tokens, OF_DETAIL.get(detail), asked):
            if tokens is not None:
                return tokens
        return self.config.soft_tokens_per_image

    def _image(self, image: Image.Image, budget: int) -> PreparedImage:
        vision = self.config.vision
        match vision:
            case VisionTowerConfig():
                patches = to_patches(image, budget, vision.patch_size, vision.pooling_kernel_size)
                tokens = len(patches.pixels) // vision.pooling_kernel_size**2
            case VisionPatchConfig():  # a soft token is one large patch
                patches = to_patches(image, budget, vision.patch_size * vision.pooling_kernel_size, 1)
                tokens = len(patches.pixels)
            case None:
                raise AssertionError("kinds are checked before anything is read")
        return PreparedImage(patches, tokens, _digest(patches.pixels, patches.grid))

    def _sound(self, samples: NDArray[np.float32]) -> PreparedSound:
        audio = self.config.audio
        if isinstance(audio, AudioFrameConfig):
            frames = raw_frames(samples, audio.audio_samples_per_token)
            return PreparedSound(frames, len(frames), _digest(frames, frames.shape))
        frames = log_mel(samples)
        return PreparedSound(frames, soft_tokens_of_mel(len(frames)), _digest(frames, frames.shape))

    def _refuse(self, where: str, kind: MediaKind) -> NoReturn:
        takes = ["text"]
        takes += ["images", "video"] if self.config.vision is not None else []
        takes += ["audio"] if self.config.audio is not None else []
        raise UnsupportedInput(
            f"{where} holds {kind} input and this model takes {', '.join(takes)} only; leave it out or "
            "load a model that takes it (`gemcut list`)"
        )


def media_parts(messages: Sequence[Message]) -> Iterator[tuple[str, MediaPart]]:
    """Every medium in the order of the prompt, and where it stands."""
    for index, message in enumerate(messages):
        if isinstance(message.content, tuple):
            for number, part in enumerate(message.content):
                if isinstance(part, MediaPart):
                    yield f"message {index}, part {number}", part


def place_media(
    rendered: str, messages: Sequence[Message], reader: MediaReader
) -> tuple[str, tuple[Prepared, ...]]:
    """The rendered prompt with each medium's placeholders, and the media in their order.

    Raises TemplateFailed unless the text has a placeholder for each medium, in order; what reading raises.
    """
    pieces = re.split("(" + "|".join(map(re.escape, PLACEHOLDERS)) + ")", rendered)
    kinds = [PLACEHOLDERS[piece] for piece in pieces[1::2]]
    parts = list(media_parts(messages))
    if kinds != [part.kind for _, part in parts]:
        raise TemplateFailed(
            f"the prompt has places for {_listed(kinds)} and the messages hold "
            f"{_listed([part.kind for _, part in parts])}; use the chat_template.jinja that belongs to the "
            "model, and take placeholders out of the messages"
        )
    text, media = pieces[0], list[Prepared]()
    for (where, part), after in zip(parts, pieces[2::2], strict=True):
        placed, prepared = reader.read(part, where)
        text += placed + after
        media += prepared
    return text, tuple(media)


def _image_text(kind: str, tokens: int) -> str:
    return MEDIA_TOKENS["begin_image"] + MEDIA_TOKENS[kind] * tokens + MEDIA_TOKENS["end_image"]


def _sound_text(tokens: int) -> str:
    return MEDIA_TOKENS["begin_audio"] + MEDIA_TOKENS["audio"] * tokens + MEDIA_TOKENS["end_audio"]


def _digest(values: NDArray[np.float32], shape: tuple[int, ...]) -> bytes:
    return hashlib.blake2b(values.tobytes() + repr(shape).encode(), digest_size=16).digest()


def _listed(kinds: Sequence[str]) -> str:
    return ", ".join(kinds) if kinds else "no media"
