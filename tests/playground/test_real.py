"""The playground before a real `gemcut serve nano`."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.playground.acts import finished, last_reply, say, set_up
from tests.server.programs import started

TOOL = {
    "name": "get_weather",
    "description": "The weather in a city right now.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "The city's name."}},
        "required": ["city"],
    },
}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}


@pytest.fixture(scope="module")
def url(nano: Path) -> Iterator[str]:
    with started("nano") as program:
        yield program.url


@pytest.fixture
def real(browser: Browser, url: str) -> Iterator[Page]:
    context = browser.new_context(base_url=url)
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto("/")
    expect(page.locator("#model")).to_have_value("nano")
    set_up(page).get_by_label("Temperature").fill("0")
    yield page
    context.close()


def test_it_thinks_and_answers(real: Page) -> None:
    real.get_by_text("Think", exact=True).click()
    say(real, "What is 274 + 389?")
    reply = finished(real)
    expect(reply.locator(".prose")).to_contain_text("663")
    expect(reply.locator(".thought-text")).not_to_be_empty()
    expect(reply.locator(".figures")).to_contain_text("per second")


def test_it_calls_a_tool_and_answers_from_what_the_user_gave(real: Page) -> None:
    panel = set_up(real)
    panel.get_by_label("Offer tools").check()
    panel.get_by_label("Tools as JSON").fill(json.dumps([TOOL]))
    say(real, "What is the weather in Lisbon?")
    expect(real.locator(".call code")).to_contain_text("Lisbon")
    real.get_by_label("Result of get_weather").fill("windy")
    real.keyboard.press("Enter")
    expect(last_reply(real).locator(".prose")).to_contain_text("windy")


def test_it_keeps_to_a_schema(real: Page) -> None:
    panel = set_up(real)
    panel.get_by_label("Replies follow a JSON schema").check()
    panel.get_by_label("JSON schema", exact=True).fill(json.dumps(PERSON))
    say(real, 'Fill {"name": "", "age": 0} from: Ada is 36.')
    made = json.loads(finished(real).locator("code").inner_text())
    assert set(made) == {"name", "age"}
    assert isinstance(made["age"], int)


def test_what_it_refuses_is_told(real: Page) -> None:
    set_up(real).get_by_label("Most tokens").fill("1")
    set_up(real).get_by_label("Top p").fill("0.5")  # with temperature 0 it would be ignored
    say(real, "Hello")
    expect(finished(real).locator(".problem")).to_contain_text("top_p")
