"""The text of a recording as it comes → events, and these → an answer in one of five formats."""

import math
from collections.abc import Sequence
from typing import Any

from gemcut.reply import Delta, Finish
from gemcut.server.hearing import LiveTranscript, Segment
from gemcut.server.refusal import Refusal
from gemcut.server.sse import Event
from gemcut.server.transcription_fields import TranscriptionRequest


class TranscriptEvents:
    """The events of a transcript, as `endpoint.Answer` has it."""

    end = b""

    def __init__(self, transcript: LiveTranscript, request: TranscriptionRequest) -> None:
        self._transcript = transcript
        self._request = request
        self._text = ""
        self._finish: Finish | None = None

    def start(self) -> list[Event]:
        """Nothing: the first word is the first event."""
        return []

    def push(self, number: int, delta: Delta) -> list[Event]:
        """A piece of the text."""
        if delta.finish is not None:
            self._finish = delta.finish
            return []
        self._text += delta.text
        return [Event({"type": "transcript.text.delta", "delta": delta.text})]

    def finish(self) -> list[Event]:
        """The whole text."""
        return [Event({"type": "transcript.text.done", "text": self._text, "usage": self._usage()})]

    def failed(self, refusal: Refusal) -> list[Event]:
        """An error in the middle of a stream."""
        return [Event(refusal.body("openai", ""))]

    def whole(self, events: Sequence[Event]) -> dict[str, Any] | str:
        """The answer in the format that was asked for."""
        text = events[-1].data["text"]
        match self._request.response_format:
            case "json":
                return {"text": text, "usage": events[-1].data["usage"]}
            case "verbose_json":
                return self._verbose(text)
            case "srt":
                return srt(self._transcript.segments)
            case "vtt":
                return vtt(self._transcript.segments)
            case "text":
                return f"{text}\n"

    def _verbose(self, text: str) -> dict[str, Any]:
        """What Gemma 4 does not know is left out: probabilities of silence, times of words."""
        duration_s = self._transcript.duration_s
        return {
            "task": "transcribe",
            "language": self._request.language,
            "duration": duration_s,
            "text": text,
            "segments": [
                {
                    "id": number,
                    "seek": round(100 * segment.start_s),
                    "start": segment.start_s,
                    "end": segment.end_s,
                    "text": segment.text,
                    "temperature": self._request.temperature,
                }
                for number, segment in enumerate(self._transcript.segments)
            ],
            "usage": {"type": "duration", "seconds": math.ceil(duration_s)},
        }

    def _usage(self) -> dict[str, Any]:
        assert self._finish is not None, "transcripts end with their finish"
        usage, audio = self._finish.usage, self._transcript.audio_tokens
        return {
            "type": "tokens",
            "input_tokens": usage.prompt_tokens,
            "input_token_details": {"audio_tokens": audio, "text_tokens": usage.prompt_tokens - audio},
            "output_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        }


def srt(segments: Sequence[Segment]) -> str:
    """SubRip subtitles; a segment without words has none."""
    spoken = [segment for segment in segments if segment.text]
    return "".join(
        f"{number}\n{_time(segment.start_s, ',')} --> {_time(segment.end_s, ',')}\n{segment.text}\n\n"
        for number, segment in enumerate(spoken, 1)
    )


def vtt(segments: Sequence[Segment]) -> str:
    """WebVTT subtitles; its three marks are written as its own escapes."""
    lines = ["WEBVTT\n\n"]
    for segment in segments:
        if segment.text:
            text = segment.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            lines.append(f"{_time(segment.start_s, '.')} --> {_time(segment.end_s, '.')}\n{text}\n\n")
    return "".join(lines)


def _time(seconds: float, point: str) -> str:
    """`01:02:03,456`."""
    whole, thousandths = divmod(round(1000 * seconds), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{thousandths:03}"
