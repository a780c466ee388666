"""Files of sound and video, opened so that nothing but their own bytes is read."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import av
from av.container import InputContainer

from gemcut.errors import BadMedia

# playlists and scripts name other files and URLs: only formats that hold their own data are opened
FORMATS = (
    "aac,ac3,aiff,amr,asf,au,avi,caf,eac3,flac,flv,gif,h264,hevc,ivf,m4v,matroska,mov,mp3,mpeg,mpegts,ogg,"
    "w64,wav,webm,wv"
)


@contextmanager
def opened(data: bytes, name: str) -> Iterator[InputContainer]:
    """The container in `data`.

    Raises BadMedia, with `name` in the message, for what is none, and for every fault met while it is read.
    """
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "none"}
    try:
        container = av.open(io.BytesIO(data), "r", container_options=options, metadata_errors="replace")
    except Exception:  # the demuxers raise whatever they meet
        raise BadMedia(
            f"{name} is no sound or video that can be read; give WAV, MP3, FLAC, OGG, MP4 or WebM"
        ) from None
    with container:
        try:
            yield container
        except BadMedia:
            raise
        except Exception as problem:  # the decoders raise whatever they meet
            reason = getattr(problem, "strerror", None) or " ".join(str(problem).split())
            why = reason or type(problem).__name__
            raise BadMedia(f"{name} is damaged ({why}); give a whole file") from None
