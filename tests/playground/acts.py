"""What a user does, and where things are on the page."""

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


def set_up(page: Page) -> Locator:
    """The settings, opened."""
    if page.locator("html").get_attribute("data-settings") == "closed":
        page.get_by_role("button", name="Settings", exact=True).click()
    panel = page.locator("#settings")
    expect(panel).to_be_visible()
    return panel
