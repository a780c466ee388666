"""/v1/audio/transcriptions: what goes in and comes out; which words a model hears is not asked here."""

import asyncio
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from gemcut import Gemma
from gemcut.family import family
from gemcut.media.audio import RATE_HZ
from gemcut.server.app import build_app
from gemcut.server.refusal import Refusal
from gemcut.server.transcription import instruction
from gemcut.server.transcription_fields import TranscriptionRequest
from tests.media.makers import sine, sound_file
from tests.server.programs import started
from tests.server.servers import chunks, client_of, serving_of
from tests.server.test_endpoint import Connection, running_sequences, until
from tests.server.test_openapi import fits, schema_of

PATH = "/v1/audio/transcriptions"
SHORT = sound_file(sine(1))


def long_sound(seconds: float = 45) -> NDArray[np.float32]:
    """Sound with pauses, longer than a window."""
    sound = sine(seconds)
    for at in range(5, int(seconds), 9):
        sound[at * RATE_HZ : at * RATE_HZ + RATE_HZ // 2] = 0
    return sound


@pytest.fixture(scope="module")
def long_file() -> bytes:
    return sound_file(long_sound(), kind="flac")


@pytest.fixture(scope="module")
def ears(hearing: Gemma) -> TestClient:
    return client_of(hearing, "tiny", most_reply_tokens=12)


def hear(client: TestClient, file: bytes = SHORT, **fields: Any) -> Any:
    return client.post(PATH, files={"file": ("talk.wav", file)}, data=fields)


def test_json_holds_the_text_and_counts_tokens(ears: TestClient) -> None:
    told = hear(ears, model="tiny").json()
    usage = told["usage"]
    assert re.fullmatch(r"\S.*\S", told["text"])
    assert usage["type"] == "tokens"
    assert usage["input_token_details"]["audio_tokens"] == 25
    assert usage["input_tokens"] == sum(usage["input_token_details"].values())
    assert usage["output_tokens"] == 12
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


@pytest.mark.parametrize("kind", ["json", "verbose_json"])
def test_answers_are_as_declared(ears: TestClient, kind: str) -> None:
    document = ears.get("/openapi.json").json()
    assert fits(hear(ears, response_format=kind).json(), schema_of(document, PATH, "post"))
    assert "multipart/form-data" in document["paths"][PATH]["post"]["requestBody"]["content"]


def test_plain_text_is_the_same_text(ears: TestClient) -> None:
    answer = hear(ears, response_format="text")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == hear(ears).json()["text"] + "\n"


def test_a_long_recording_is_heard_in_windows(ears: TestClient, long_file: bytes) -> None:
    told = hear(ears, long_file, response_format="verbose_json", language="de").json()
    assert (told["task"], told["language"], told["duration"]) == ("transcribe", "de", 45)
    assert told["usage"] == {"type": "duration", "seconds": 45}
    segments = told["segments"]
    assert len(segments) == 2
    assert [segment["start"] for segment in segments[1:]] == [segment["end"] for segment in segments[:-1]]
    assert (segments[0]["start"], segments[-1]["end"]) == (0, 45)
    for segment in segments[:-1]:  # in a pause
        assert (segment["end"] - 5) % 9 <= 0.5
    whole = "".join(told["text"].split())
    assert whole == "".join("".join(segment["text"].split()) for segment in segments)


def test_subtitles_have_a_segment_for_each_window_with_words(ears: TestClient, long_file: bytes) -> None:
    told = hear(ears, long_file, response_format="verbose_json").json()["segments"]
    spoken = [segment for segment in told if segment["text"]]
    srt = hear(ears, long_file, response_format="srt").text
    assert [line for line in srt.splitlines() if line.isdigit()] == [str(n + 1) for n in range(len(spoken))]
    times = re.findall(r"00:00:(\d\d),(\d{3}) --> 00:00:(\d\d),(\d{3})\n(.*)\n\n", srt)
    shown = [(float(f"{a}.{b}"), float(f"{c}.{d}"), text) for a, b, c, d, text in times]
    assert shown == [(round(s["start"], 3), round(s["end"], 3), s["text"]) for s in spoken]
    vtt = hear(ears, long_file, response_format="vtt").text
    assert vtt.startswith("WEBVTT\n\n00:00:00.000 --> ")


@pytest.mark.parametrize("is_long", [False, True])
def test_a_stream_adds_up_to_the_same(ears: TestClient, long_file: bytes, is_long: bool) -> None:
    file = long_file if is_long else SHORT
    events = chunks(hear(ears, file, stream="true").text)
    assert [event["type"] for event in events[:-1]] == ["transcript.text.delta"] * (len(events) - 1)
    assert events[-1]["type"] == "transcript.text.done"
    assert "".join(event["delta"] for event in events[:-1]) == events[-1]["text"]
    whole = hear(ears, file).json()
    assert {"text": events[-1]["text"], "usage": events[-1]["usage"]} == whole


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tempo": "1"}, "tempo"),
        ({"temperature": "2"}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"temperature": "nan"}, "temperature"),
        ({"stream": "yes"}, "stream"),
        ({"response_format": "diarized_json"}, "response_format"),
        ({"response_format": "srt", "stream": "true"}, "response_format"),
        ({"language": "klingon"}, "language"),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities[]"),
        ({"timestamp_granularities[]": "segment"}, "timestamp_granularities[]"),
        ({"include[]": "logprobs"}, "include[]"),
        ({"model": "other"}, "model"),
        ({"chunking_strategy[type]": "server_vad"}, "chunking_strategy[type]"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_by_its_name(
    ears: TestClient, fields: dict[str, str], param: str
) -> None:
    answer = hear(ears, **fields)
    assert answer.status_code == (404 if param == "model" else 400)
    assert answer.json()["error"]["param"].startswith(param)


@pytest.mark.parametrize(
    ("file", "status"),
    [(b"no sound", 422), (b"", 422), (SHORT[:60], 422), (sound_file(sine(0.005)), 422)],
)
def test_what_is_no_sound_is_refused(ears: TestClient, file: bytes, status: int) -> None:
    answer = hear(ears, file)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, "file")


def test_a_file_must_be_there(ears: TestClient) -> None:
    for answer in (
        ears.post(PATH, files={"other": b"x"}),
        ears.post(PATH, data={"file": "text"}, files={"x": b""}),
    ):
        assert answer.status_code == 400
    assert ears.post(PATH, json={"file": "x"}).status_code == 415


def test_a_model_that_does_not_hear_says_so(client: TestClient) -> None:
    answer = hear(client)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported_input")


def test_an_operator_may_take_no_recordings(hearing: Gemma) -> None:
    assert hear(client_of(hearing, "tiny", most_media=0)).status_code == 413


def test_a_strange_page_cannot_have_recordings_heard(ears: TestClient) -> None:
    answer = ears.post(PATH, files={"file": SHORT}, headers={"origin": "https://evil.example"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "wrong_origin")


def test_damage_in_the_middle_ends_a_stream_with_an_error(ears: TestClient) -> None:
    whole = bytearray(sound_file(long_sound(), kind="flac"))
    whole[len(whole) // 2 :] = bytes(len(whole) - len(whole) // 2)
    answer = hear(ears, bytes(whole), stream="true")
    told = chunks(answer.text) if answer.status_code == 200 else [answer.json()]
    assert "error" in told[-1] or told[-1]["type"] == "transcript.text.done"


def test_the_prompt_says_what_the_client_knows() -> None:
    e2b = family("e2b").size.text
    plain = instruction(TranscriptionRequest(file=b"x"), e2b)
    assert plain.startswith("Transcribe the following speech segment in its original language.")
    known = instruction(TranscriptionRequest(file=b"x", language="DE", prompt="Herr\nMüller"), e2b)
    assert "in German into German text" in known
    assert known.endswith("this text, which came before: Herr Müller")


def test_nano_is_asked_in_the_words_that_it_was_taught() -> None:
    nano = family("nano").size.text
    assert instruction(TranscriptionRequest(file=b"x", language="en"), nano) == "Transcribe the audio."
    for request in (
        TranscriptionRequest(file=b"x", language="de"),
        TranscriptionRequest(file=b"x", prompt="a"),
    ):
        with pytest.raises(Refusal, match="it knows English only"):
            instruction(request, nano)


def test_who_leaves_ends_all_windows(hearing: Gemma, long_file: bytes) -> None:
    async def work() -> None:
        app = build_app(serving_of(hearing, "tiny"))
        connection = Connection(PATH, {})
        body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + long_file
        connection.scope["headers"] = [(b"content-type", b"multipart/form-data; boundary=b")]
        connection._inbox[0]["body"] = body + b"\r\n--b--\r\n"
        task = asyncio.ensure_future(app(connection.scope, connection.receive, connection.send))
        await until(lambda: running_sequences(hearing) >= 1)
        connection.gone.set()
        await asyncio.wait_for(task, 20)
        await until(lambda: running_sequences(hearing) == 0)

    asyncio.run(work())


def test_the_log_has_no_recording(hearing: Gemma) -> None:
    log = io.StringIO()
    client = client_of(hearing, "tiny", log, log_prompts=True, most_reply_tokens=2)
    hear(client, language="en")
    line = json.loads(log.getvalue())
    assert (line["language"], line["status"]) == ("en", 200)
    assert "body" not in line


def test_openais_client_transcribes(hearing_folder: Path, long_file: bytes) -> None:
    with (
        started(str(hearing_folder), "--max-reply-tokens", "12", "--name", "tiny") as program,
        openai.OpenAI(base_url=f"{program.url}/v1", api_key="any", max_retries=0) as client,
    ):
        make = client.audio.transcriptions.create
        whole = make(file=("talk.flac", long_file), model="tiny", prompt="Hello", temperature=0)
        assert whole.text
        assert whole.usage is not None
        streamed = list(
            make(file=("talk.flac", long_file), model="tiny", prompt="Hello", temperature=0, stream=True)
        )
        assert streamed[-1].type == "transcript.text.done"
        assert streamed[-1].text == whole.text
        assert make(file=io.BytesIO(SHORT), model="tiny", response_format="srt").startswith("1\n00:00:00,000")
        verbose = make(
            file=SHORT,
            model="tiny",
            response_format="verbose_json",
            timestamp_granularities=["segment"],
        )
        assert verbose.segments is not None
        assert (verbose.duration, verbose.segments[0].end) == (1, 1)
        with pytest.raises(openai.BadRequestError, match="should be 'segment'"):
            make(file=SHORT, model="tiny", response_format="verbose_json", timestamp_granularities=["word"])
