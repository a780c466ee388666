import base64
import io
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.playground.acts import as_code, finished, say, sent_by_shell, set_up, until
from tests.playground.fake_server import FakeServer, text


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (10, 120, 90)).save(file, "PNG")
    return file.getvalue()


def sound(seconds: float = 0.2, rate: int = 44_100) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(rate)
        tone = np.sin(np.arange(int(seconds * rate)) * 440 * 2 * np.pi / rate) * 9000
        out.writeframes(np.repeat(tone.astype("<i2"), 2).tobytes())
    return file.getvalue()


def files(*given: tuple[str, str, bytes]) -> list[dict[str, object]]:
    return [{"name": name, "mimeType": kind, "buffer": data} for name, kind, data in given]


def drop(page: Page, name: str, kind: str, data: bytes) -> None:
    """Drops a file onto the page, as from the desktop."""
    transfer = page.evaluate_handle(
        """([name, kind, data]) => {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, { type: kind }));
            return transfer;
        }""",
        [name, kind, base64.b64encode(data).decode()],
    )
    for event in ("dragover", "drop"):
        page.locator("#transcript").dispatch_event(event, {"dataTransfer": transfer})


def parts(server: FakeServer) -> list[dict[str, object]]:
    return server.bodies[-1]["messages"][-1]["content"]  # type: ignore[no-any-return]


def test_pictures_come_before_the_text_and_sound_behind_it(page: Page, server: FakeServer) -> None:
    server.script = [text("A green picture.")]
    page.locator("#files").set_input_files(
        files(("hum.wav", "audio/wav", sound()), ("green.png", "image/png", picture()))
    )
    expect(page.locator("#attachments li")).to_have_count(2)
    say(page, "What is it?")
    finished(page)
    image, said, heard = parts(server)
    url = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
    assert image == {"type": "image_url", "image_url": {"url": url}}
    assert said == {"type": "text", "text": "What is it?"}
    assert heard["input_audio"] == {"data": base64.b64encode(sound()).decode(), "format": "wav"}
    expect(page.locator("#attachments li")).to_have_count(0)
    expect(page.locator(".user .media img")).to_be_visible()
    page.reload()
    expect(page.locator(".user .media img")).to_be_visible()


def test_a_dropped_picture_is_sent_with_the_budget_that_the_slider_says(
    page: Page, server: FakeServer
) -> None:
    server.script = [text("Green."), text("Green.")]
    slider = set_up(page).get_by_label("Detail")
    expect(page.locator("#settings output")).to_have_text("the model's own")
    slider.fill("5")
    expect(page.locator("#settings output")).to_have_text("at most 1,120 tokens")
    drop(page, "green.png", "image/png", picture())
    expect(page.locator("#attachments img")).to_be_visible()
    say(page, "What is it?")
    finished(page)
    assert parts(server)[0]["image_url"]["max_soft_tokens"] == 1120  # type: ignore[index]


def test_what_is_no_medium_is_refused(page: Page) -> None:
    drop(page, "notes.txt", "text/plain", b"notes")
    expect(page.locator("#said")).to_have_text("notes.txt is no picture, sound or video")
    expect(page.locator("#attachments li")).to_have_count(0)


def test_an_empty_file_is_refused(page: Page) -> None:
    drop(page, "nothing.png", "image/png", b"")
    expect(page.locator("#said")).to_have_text("nothing.png is empty")
    expect(page.locator("#attachments li")).to_have_count(0)


def test_sound_that_the_browser_cannot_read_is_named(page: Page, server: FakeServer) -> None:
    drop(page, "hum.ogg", "audio/ogg", b"no sound at all")
    say(page, "What do you hear?")
    told = "This browser cannot read hum.ogg; give it as WAV or MP3"
    expect(finished(page).locator(".problem")).to_have_text(told)
    page.get_by_role("button", name="Copy as curl or Python").click()
    expect(page.locator("#said")).to_have_text(told)
    assert server.bodies == []


def test_sound_fits_a_narrow_screen(page: Page, server: FakeServer) -> None:
    server.script = [text("A hum.")]
    page.set_viewport_size({"width": 320, "height": 700})
    page.locator("#files").set_input_files(files(("hum.wav", "audio/wav", sound())))
    for place in ("#attachments audio", ".user audio"):
        box = page.locator(place).bounding_box()
        assert box is not None
        assert 0 <= box["x"] <= box["x"] + box["width"] <= 320
        if place == "#attachments audio":
            say(page, "What is it?")
            finished(page)


def test_an_attachment_can_be_removed(page: Page) -> None:
    drop(page, "green.png", "image/png", picture())
    page.get_by_role("button", name="Remove green.png").click()
    expect(page.locator("#attachments li")).to_have_count(0)


def test_a_recording_is_sent_as_wav_of_16_khz(page: Page, server: FakeServer) -> None:
    server.script = [text("A beep.")]
    page.get_by_role("button", name="Record sound").click()
    page.wait_for_timeout(700)
    page.get_by_role("button", name="Stop recording").click()
    expect(page.locator("#attachments audio")).to_be_visible()
    say(page, "What do you hear?")
    finished(page)
    heard = parts(server)[1]["input_audio"]
    with wave.open(io.BytesIO(base64.b64decode(heard["data"]))) as recording:  # type: ignore[index]
        assert (recording.getframerate(), recording.getnchannels(), recording.getsampwidth()) == (
            16_000,
            1,
            2,
        )
        assert recording.getnframes() > 3000


def test_a_second_click_opens_no_second_microphone(page: Page) -> None:
    """While the first was still asked for; nobody would have closed it."""
    page.evaluate(
        """() => {
            const { mediaDevices } = navigator;
            const open = mediaDevices.getUserMedia.bind(mediaDevices);
            window.opened = [];
            mediaDevices.getUserMedia = async (wish) => {
                await new Promise((go) => setTimeout(go, 500));
                window.opened.push(await open(wish));
                return window.opened.at(-1);
            };
        }"""
    )
    page.get_by_role("button", name="Record sound").dblclick()
    stop = page.get_by_role("button", name="Stop recording")
    expect(stop).to_be_visible()
    page.wait_for_timeout(600)
    stop.click()
    expect(page.locator("#attachments audio")).to_have_count(1)
    ended = page.evaluate("window.opened.map((s) => s.getTracks().every((t) => t.readyState === 'ended'))")
    assert ended == [True]


@pytest.mark.parametrize("kind", ["photo", "video"])
def test_the_camera_takes_photos_and_videos(page: Page, server: FakeServer, kind: str) -> None:
    server.script = [text("Green and grey.")]
    page.get_by_role("button", name="Use the camera").click()
    until(page, "document.querySelector('#shot video').videoWidth > 0")
    if kind == "photo":
        page.get_by_role("button", name="Take a photo").click()
    else:
        page.get_by_role("button", name="Record video").click()
        page.wait_for_timeout(700)
        page.get_by_role("button", name="Stop").click()
    expect(page.locator("#attachments li")).to_have_count(1)
    say(page, "What do you see?")
    finished(page)
    part = parts(server)[0]
    source = part[f"{'image' if kind == 'photo' else 'video'}_url"]["url"]  # type: ignore[index]
    assert source.startswith("data:image/jpeg;base64," if kind == "photo" else "data:video/")
    assert len(source) > 1000


def test_media_are_in_the_copied_code_whole_and_on_the_screen_short(page: Page, tmp_path: Path) -> None:
    drop(page, "green.png", "image/png", picture())
    page.get_by_label("Message", exact=True).fill("What is it?")
    page.get_by_role("button", name="Copy as curl or Python").click()
    data = base64.b64encode(picture()).decode()
    if len(data) > 250:
        expect(page.locator("#code-text")).not_to_contain_text(data)
    page.locator("#code-copy").click()
    expect(page.locator("#said")).to_have_text("Copied")
    assert data in page.evaluate("navigator.clipboard.readText()")


def test_a_large_picture_goes_through_a_shell(page: Page, tmp_path: Path) -> None:
    """It once was an argument of curl, which Linux lets have no more than 128 KiB."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    assert len(file.getvalue()) > 2**17
    drop(page, "noise.png", "image/png", file.getvalue())
    expect(page.locator("#attachments img")).to_be_visible()
    _, body = sent_by_shell(as_code(page, "curl"), tmp_path)
    url = body["messages"][0]["content"][0]["image_url"]["url"]
    assert base64.b64decode(url.partition(",")[2]) == file.getvalue()
