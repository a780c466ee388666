"""The playground in a real Chromium, before a server that follows a script."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request, expect, sync_playwright

from tests.playground.fake_server import FakeServer

CHROMIUM = "chromium"  # Debian's package
EXPECTED_ERRORS = "Failed to load resource"  # the browser notes every answer that is an error

expect.set_options(timeout=30_000)


# Of a module, not of the session: while Playwright runs, other tests could not run event loops of their own.
@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    program = shutil.which(CHROMIUM)
    if program is None:
        pytest.skip(f"needs the program {CHROMIUM}: apt-get install {CHROMIUM}")
    arguments = [
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        "--disable-background-networking",
    ]
    browser = playwright.chromium.launch(executable_path=program, args=arguments)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def running_server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def server(running_server: FakeServer) -> FakeServer:
    running_server.forget()
    return running_server


@pytest.fixture
def problems() -> list[str]:
    """What the browser complained about."""
    return []


@pytest.fixture
def page(browser: Browser, server: FakeServer, problems: list[str]) -> Iterator[Page]:
    """The playground; afterwards it has met no error, and asked nobody but its own server."""
    context = browser.new_context(
        base_url=server.url,
        viewport={"width": 1280, "height": 860},
        permissions=["clipboard-read", "clipboard-write", "microphone", "camera"],
    )
    context.set_default_timeout(30_000)
    page = context.new_page()
    asked: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and EXPECTED_ERRORS not in message.text:
            problems.append(message.text)

    def requested(request: Request) -> None:
        asked.append(request.url)

    page.on("console", heard)
    page.on("pageerror", lambda error: problems.append(str(error)))
    context.on("request", requested)
    page.goto("/")
    expect(page.locator("#model")).to_have_value("nano")
    yield page
    server.go_on.set()
    context.close()
    assert problems == []
    strangers = [url for url in asked if not url.startswith((server.url, "blob:", "data:"))]
    assert strangers == []
