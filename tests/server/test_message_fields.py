"""Images, sound and video in messages, on a tiny model that takes them."""

import base64
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from gemcut import Gemma
from tests.media.makers import as_bytes, noise
from tests.server.servers import chat, client_of, refusal
from tests.tiny_model import write_tiny_model

PATH = "/v1/chat/completions"
PICTURE = as_bytes(noise(480, 480), "PNG")


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def image(**more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_url(PICTURE), **more}}


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    folder: Path = tmp_path_factory.mktemp("models") / "seeing"
    write_tiny_model(folder, senses=True)
    return client_of(Gemma.load(str(folder), device="cpu"), "seeing")


def size(client: TestClient, *parts: dict[str, Any], **fields: Any) -> int:
    """Tokens of a prompt with these parts."""
    answer = chat(client, [{"role": "user", "content": list(parts)}], max_tokens=1, **fields)
    return int(answer["usage"]["prompt_tokens"])


def test_detail_and_budgets_say_how_closely_an_image_is_looked_at(seeing: TestClient) -> None:
    text = {"type": "text", "text": "What?"}
    bare = size(seeing, text)
    sizes = {detail: size(seeing, image(detail=detail), text) - bare for detail in ("low", "auto", "high")}
    assert 40 < sizes["low"] <= 72 < sizes["auto"] <= 282 < sizes["high"] <= 1122
    assert size(seeing, image(max_soft_tokens=70), text) - bare == sizes["low"]
    assert size(seeing, image(), text, mm_processor_kwargs={"max_soft_tokens": 1120}) - bare == sizes["high"]
    assert size(seeing, image(), text) - bare == sizes["auto"]
    both = [{"role": "user", "content": [image(detail="low", max_soft_tokens=1120), text]}]
    assert "both detail and max_soft_tokens" in refusal(seeing, PATH, messages=both)[1]["message"]


def test_a_picture_in_a_tool_s_result_reaches_the_model(seeing: TestClient) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    said: list[dict[str, Any]] = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "tool_calls": [call]},
    ]
    sizes = []
    for content in ([{"type": "text", "text": "x"}], [{"type": "text", "text": "x"}, image(detail="low")]):
        result = {"role": "tool", "tool_call_id": "c", "content": content}
        sizes.append(chat(seeing, [*said, result], max_tokens=1)["usage"]["prompt_tokens"])
    assert sizes[1] - sizes[0] > 40


def test_anthropic_s_and_responses_pictures_are_the_same(seeing: TestClient) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PICTURE).decode()}
    said = [
        {"role": "user", "content": [{"type": "image", "source": source}, {"type": "text", "text": "What?"}]}
    ]
    counted = seeing.post("/v1/messages/count_tokens", json={"model": "seeing", "messages": said}).json()
    parts = [{"type": "input_image", "image_url": data_url(PICTURE)}, {"type": "input_text", "text": "What?"}]
    items = [{"role": "user", "content": parts}]
    made = seeing.post("/v1/responses", json={"input": items, "max_output_tokens": 1}).json()
    want = size(seeing, image(), {"type": "text", "text": "What?"})
    assert counted["input_tokens"] == made["usage"]["input_tokens"] == want


@pytest.mark.parametrize(
    ("part", "status"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, 422),
        ({"type": "image_url", "image_url": {"url": data_url(PICTURE[:200])}}, 422),
        ({"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}, 422),
        ({"type": "image_url", "image_url": {"url": "http://127.0.0.1/a.png"}}, 422),
        ({"type": "image_url", "image_url": {"url": "/etc/passwd"}}, 422),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, 422),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, 422),
        ({"type": "video_url", "video_url": {"url": data_url(b"no video", "video/mp4")}}, 422),
        ({"type": "image_url", "image_url": {"url": data_url(PICTURE), "detail": "ultra"}}, 400),
        ({"type": "image_url", "image_url": {"url": data_url(PICTURE), "max_soft_tokens": 71}}, 400),
        ({"type": "image_url", "image_url": data_url(PICTURE)}, 400),
        ({"type": "file", "file": {"file_id": "f"}}, 400),
    ],
)
def test_what_cannot_be_read_is_refused(seeing: TestClient, part: dict[str, Any], status: int) -> None:
    got, error = refusal(seeing, PATH, messages=[{"role": "user", "content": [part]}])
    assert (got, bool(error["message"])) == (status, True)


def test_a_host_must_be_allowed_by_the_operator(seeing: TestClient) -> None:
    part = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    _, error = refusal(seeing, PATH, messages=[{"role": "user", "content": [part]}])
    assert "fetches nothing from example.org" in error["message"]
    assert "--media-host" in error["message"]
