"""What a user does, and where things are on the page."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect


def say(page: Page, text: str) -> None:
    """Writes a message and sends it by the keyboard."""
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def replies(page: Page) -> Locator:
    """All replies that are shown."""
    return page.locator(".reply")


def last_reply(page: Page) -> Locator:
    """The last of them."""
    return replies(page).last


def finished(page: Page) -> Locator:
    """The last reply, once it is over."""
    reply = last_reply(page)
    expect(reply).to_have_attribute("aria-busy", "false")
    return reply


def titles(page: Page) -> Locator:
    """The names of the conversations at the left."""
    return page.locator("#conversations .name")


def until(page: Page, condition: str) -> None:
    """Waits for a condition in JavaScript: the page's policy forbids Playwright's own way, an `eval`."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    raise TimeoutError(condition)


def as_code(page: Page, form: str) -> str:
    """The next request as code, through the clipboard."""
    page.get_by_role("button", name="Copy as curl or Python").click()
    page.get_by_role("tab", name=form).click()
    page.locator("#code-copy").click()
    expect(page.locator("#code #said")).to_have_text("Copied")
    return str(page.evaluate("navigator.clipboard.readText()"))


def sent_by_shell(code: str, folder: Path, **environment: str) -> tuple[list[str], dict[str, Any]]:
    """What code gives `curl`, by a stand-in for that: its arguments, and the JSON that it reads."""
    stand_in = folder / "curl"
    stand_in.write_text(
        f"#!{sys.executable}\nimport json, sys\nprint(json.dumps([sys.argv[1:], json.load(sys.stdin)]))\n"
    )
    stand_in.chmod(0o755)
    script = folder / "ask.sh"
    script.write_text(code)
    path = f"{folder}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(script)],
        env=os.environ | environment | {"PATH": path},
        check=True,
        stdout=subprocess.PIPE,
        timeout=60,
    )
    arguments, body = json.loads(done.stdout)
    return arguments, body


def set_up(page: Page) -> Locator:
    """The settings, opened."""
    if page.locator("html").get_attribute("data-settings") == "closed":
        page.get_by_role("button", name="Settings", exact=True).click()
    panel = page.locator("#settings")
    expect(panel).to_be_visible()
    return panel
