"""/v1/audio/transcriptions: a recording → questions to the model, one a window."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from gemcut.config import TextConfig
from gemcut.engine.sampling_params import SamplingParams
from gemcut.family import family
from gemcut.live import LiveReply
from gemcut.many import Question, ReplyOptions
from gemcut.media.audio import RATE_HZ, sound_pieces
from gemcut.media.windows import Window, windows
from gemcut.server.fields import read_fields
from gemcut.server.hearing import LiveTranscript
from gemcut.server.models import Served
from gemcut.server.refusal import Refusal
from gemcut.server.running import Ring
from gemcut.server.serving import Serving
from gemcut.server.transcript_events import TranscriptEvents
from gemcut.server.transcription_fields import TranscriptionRequest

# the words of Gemma 4's model card: what it was taught to transcribe at
INSTRUCTION = (
    "Transcribe the following speech segment {language}.\n\n"
    "Follow these specific instructions for formatting the answer:\n"
    "* Only output the transcription, with no newlines.\n"
    "* When transcribing numbers, write the digits, i.e. write 1.7 and not one point seven, "
    "and write 3 instead of three."
)
AFTER = "\n* Names, spelling and style are those of this text, which came before: {prompt}"
OF_NANO = "Transcribe the audio."  # nano was taught no language but English, and no other words for it
TOKENS_A_SECOND = 16  # nobody speaks as quickly in any language: what says more repeats itself
FEWEST_TOKENS = 32


class TranscriptionAsked:
    """A recording to be transcribed, as `endpoint.Asked` has it."""

    subject = "file"

    def __init__(self, request: TranscriptionRequest, serving: Serving) -> None:
        request.check()
        if serving.options.most_media == 0:
            raise Refusal(413, "this server takes no recordings", param="file")
        self.model = request.model
        self.is_streamed = request.stream
        self.log = {"language": request.language}
        self._request = request
        self._serving = serving

    def ask(self, served: Served, ring: Ring) -> list[LiveTranscript]:
        """Starts the first window; the others follow as there is time."""
        if served.gemma.config.audio is None:
            text = f"the model {served.name} does not hear; ask one that takes audio (/v1/models tells)"
            raise Refusal(400, text, param="model", code="unsupported_input")
        found = windows(sound_pieces(self._request.file, "the file"), "the file")
        hear = partial(self._hear, served, ring, instruction(self._request, served.gemma.config.text))
        return [LiveTranscript(found, hear, self._serving.workers, ring)]

    def answer(self, served: Served, replies: Sequence[LiveTranscript]) -> TranscriptEvents:
        """What was heard, as events."""
        return TranscriptEvents(replies[0], self._request)

    def _hear(self, served: Served, ring: Ring, words: str, window: Window) -> LiveReply:
        sound = {"type": "audio", "audio": (window.samples, RATE_HZ)}
        said = [{"role": "user", "content": [{"type": "text", "text": words}, sound]}]
        most = max(FEWEST_TOKENS, math.ceil(TOKENS_A_SECOND * len(window.samples) / RATE_HZ))
        limit = self._serving.options.most_reply_tokens
        sampling = SamplingParams(
            temperature=self._request.temperature, max_tokens=most if limit is None else min(most, limit)
        )
        return served.gemma.live(Question(said, ReplyOptions(sampling=sampling)), ring)[0]


def read_transcription(given: Any, serving: Serving) -> TranscriptionAsked:
    """A form's fields, checked.  Raises Refusal."""
    return TranscriptionAsked(read_fields(TranscriptionRequest, given), serving)


def instruction(request: TranscriptionRequest, text: TextConfig) -> str:
    """What a model with these numbers is told to do with each window.  Raises Refusal for what it cannot."""
    name = request.language_name
    if text == family("nano").size.text:
        if name not in (None, "English") or request.prompt:
            field = "prompt" if request.prompt else "language"
            raise Refusal(400, f"nano takes no {field}: it knows English only", param=field)
        return OF_NANO
    where = "in its original language" if name is None else f"in {name} into {name} text"
    after = "" if not request.prompt else AFTER.format(prompt=" ".join(request.prompt.split()))
    return INSTRUCTION.format(language=where) + after
