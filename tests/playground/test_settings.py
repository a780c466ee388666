import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from starlette.responses import JSONResponse

from tests.playground.acts import as_code, finished, say, sent_by_shell, set_up
from tests.playground.fake_server import FakeServer, text

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}}
KEY = "it's secret"
ODD = 'It\'s "odd": $HOME `id` \\n ünïcode\nand two lines'


def test_settings_go_with_the_request_and_empty_ones_do_not(page: Page, server: FakeServer) -> None:
    panel = set_up(page)
    panel.get_by_label("System prompt").fill("Be brief.")
    panel.get_by_label("Temperature").fill("0")
    panel.get_by_label("Top p").fill("0.9")
    panel.get_by_label("Most tokens").fill("50")
    panel.get_by_label("Seed").fill("7")
    server.script = [text("Yes.")]
    say(page, "Hello")
    finished(page)
    body = server.bodies[0]
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert {key: body[key] for key in ("temperature", "top_p", "max_tokens", "seed")} == {
        "temperature": 0,
        "top_p": 0.9,
        "max_tokens": 50,
        "seed": 7,
    }
    assert not {"top_k", "min_p", "tools", "response_format"} & set(body)


def test_a_schema_goes_with_the_request_and_its_reply_is_shown_as_json(
    page: Page, server: FakeServer
) -> None:
    panel = set_up(page)
    panel.get_by_label("Replies follow a JSON schema").check()
    panel.get_by_label("JSON schema", exact=True).fill(json.dumps(SCHEMA))
    server.script = [text('{"age":', " 36}")]
    say(page, "Ada is 36.")
    expect(finished(page).locator("code")).to_have_text('{\n  "age": 36\n}')
    expect(page.locator("#modes")).to_have_text("Schema")
    assert server.bodies[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "reply", "strict": True, "schema": SCHEMA},
    }


def test_settings_belong_to_their_conversation_and_the_next_begins_with_them(
    page: Page, server: FakeServer
) -> None:
    set_up(page).get_by_label("Temperature").fill("0.3")
    server.script = [text("Yes."), text("Yes.")]
    say(page, "First")
    finished(page)
    page.get_by_role("button", name="New conversation").first.click()
    expect(page.get_by_label("Temperature")).to_have_value("0.3")
    page.get_by_label("Temperature").fill("1.5")
    say(page, "Second")
    finished(page)
    page.locator("#conversations .name").nth(1).click()
    expect(page.get_by_label("Temperature")).to_have_value("0.3")
    page.reload()
    expect(page.get_by_label("Temperature")).to_have_value("1.5")


def test_numbers_that_are_none_or_out_of_range_are_refused_where_they_stand(
    page: Page, server: FakeServer
) -> None:
    """The browser gives what is no number as an empty text: once the reply came without the setting."""
    field = set_up(page).get_by_label("Temperature")
    field.press_sequentially("1e")
    expect(page.locator("#sampling-problem")).to_contain_text("Temperature: ")
    say(page, "Hello")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill("0.5")
    page.get_by_label("Top p").fill("7")
    expect(page.locator("#sampling-problem")).to_contain_text("Top p: ")
    say(page, "Hello")
    expect(page.get_by_label("Top p")).to_be_focused()
    assert server.bodies == []
    page.get_by_label("Top p").fill("")
    expect(page.locator("#sampling-problem")).to_be_empty()
    server.script = [text("Yes.")]
    say(page, "Hello")
    finished(page)
    assert server.bodies[0]["temperature"] == 0.5


def test_what_is_written_into_the_settings_is_kept_with_the_conversation_that_is_left(
    page: Page, server: FakeServer
) -> None:
    server.script = [text("Yes.")]
    say(page, "Hello")
    finished(page)
    field = set_up(page).get_by_label("System prompt")
    field.press_sequentially("Be brief.")
    page.keyboard.press("Alt+n")
    page.wait_for_timeout(500)
    page.reload()
    expect(field).to_have_value("Be brief.")


def prepare(page: Page) -> None:
    panel = set_up(page)
    panel.get_by_label("System prompt").fill(ODD)
    panel.get_by_label("Top k").fill("40")
    panel.get_by_label("API key").fill(KEY)
    panel.get_by_label("Offer tools").check()
    page.get_by_label("Message", exact=True).fill("How's the weather?")


def test_curl_sends_what_the_page_would_send(page: Page, server: FakeServer, tmp_path: Path) -> None:
    prepare(page)
    code = as_code(page, "curl")
    assert "secret" not in code
    arguments, sent = sent_by_shell(code, tmp_path, GEMCUT_API_KEY=KEY)
    assert arguments[0] == f"{server.url}/v1/chat/completions"
    assert f"Authorization: Bearer {KEY}" in arguments
    assert arguments[-2:] == ["--data-binary", "@-"]
    page.keyboard.press("Escape")
    server.script = [text("Yes.")]
    page.get_by_label("Message", exact=True).press("Enter")
    finished(page)
    assert sent == server.bodies[0]
    assert server.bodies[0]["messages"][0]["content"] == ODD


FAKE_OPENAI = """
import json, urllib.request
class OpenAI:
    def __init__(self, base_url, api_key):
        self.chat = self.completions = self
        self.base_url, self.api_key = base_url, api_key
    def create(self, extra_body, **body):
        data = json.dumps({**body, **extra_body}).encode()
        head = {"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.base_url}/chat/completions", data, head)
        urllib.request.urlopen(request).close()
        raise SystemExit
"""


def test_python_sends_what_the_page_would_send(page: Page, server: FakeServer, tmp_path: Path) -> None:
    """With a stand-in for OpenAI's package, which sends what it is given."""
    prepare(page)
    program = as_code(page, "Python")
    assert "secret" not in program
    (tmp_path / "openai.py").write_text(FAKE_OPENAI)
    server.key = KEY
    server.script = [JSONResponse({}), text("Yes.")]
    environment = os.environ | {"GEMCUT_API_KEY": KEY}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, timeout=60)
    page.keyboard.press("Escape")
    page.get_by_label("Message", exact=True).press("Enter")
    finished(page)
    from_python, from_page = server.bodies
    assert from_python == {k: v for k, v in from_page.items() if k not in ("stream", "stream_options")}


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_the_theme_is_kept(page: Page, theme: str) -> None:
    button = page.locator("#theme")
    expect(button).to_have_text("System")
    while button.inner_text().strip() != theme:
        button.click()
    colour = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(colour)
    page.reload()
    expect(button).to_have_text(theme)
    expect(button).to_have_accessible_name(f"Theme: {theme}")
    assert page.evaluate(colour) == before
    assert (sum(map(int, before[4:-1].split(","))) > 380) == (theme == "Light")


def test_the_theme_is_the_system_s_where_none_is_chosen(page: Page) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="light")
    light = page.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(colour) != light
