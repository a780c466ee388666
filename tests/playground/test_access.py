"""The page by keyboard alone, by screen reader, and on narrow screens."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.playground.acts import finished, last_reply, replies, say, set_up, titles, until
from tests.playground.fake_server import HOLD, FakeServer, calls, text


def test_a_whole_visit_by_keyboard(page: Page, server: FakeServer) -> None:
    server.script = [text("One."), text("Two."), text("Two, again.")]
    expect(page.get_by_label("Message", exact=True)).to_be_focused()
    page.keyboard.type("First")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("and more")
    page.keyboard.press("Enter")
    expect(finished(page).locator(".prose")).to_have_text("One.")
    assert server.bodies[0]["messages"][0]["content"] == "First\nand more"
    page.keyboard.press("Alt+c")
    expect(page.locator("#said")).to_have_text("Copied")
    page.keyboard.press("Alt+n")
    expect(page.locator(".greeting")).to_be_visible()
    page.keyboard.press("Alt+h")
    page.keyboard.type("Second")
    page.keyboard.press("Enter")
    expect(finished(page).locator(".prose")).to_have_text("Two.")
    assert server.bodies[1]["chat_template_kwargs"] == {"enable_thinking": True}
    page.keyboard.press("Alt+r")
    expect(last_reply(page).locator(".prose")).to_have_text("Two, again.")
    page.keyboard.press("Alt+j")
    expect(last_reply(page).locator(".prose")).to_have_text("One.")
    page.keyboard.press("Alt+k")
    expect(last_reply(page).locator(".prose")).to_have_text("Two, again.")


def test_the_list_of_keys_opens_and_closes_by_keys(page: Page) -> None:
    page.locator("#help").focus()
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    page.keyboard.press("/")
    field = page.get_by_label("Message", exact=True)
    expect(field).to_be_focused()
    page.keyboard.type("/?")
    expect(field).to_have_value("/?")


def test_everything_that_can_be_used_has_a_name(page: Page, server: FakeServer) -> None:
    server.script = [text("```python\nx = 1\n```")]
    say(page, "Code")
    finished(page)
    page.keyboard.press("Alt+s")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea, a")].filter((node) => {
            const name = node.getAttribute("aria-label") || node.textContent.trim()
                || [...(node.labels ?? [])].map((label) => label.textContent.trim()).join("");
            return !name && node.id !== "files";
        }).map((node) => node.outerHTML)"""
    )
    assert nameless == []


def test_the_end_of_a_reply_is_announced_and_its_letters_are_not(page: Page, server: FakeServer) -> None:
    server.script = [text("It is ", "sunny.")]
    say(page, "Weather?")
    finished(page)
    expect(page.locator("#heard")).to_have_text("The reply is there: It is sunny.")
    expect(page.get_by_role("log")).to_have_attribute("aria-live", "off")


def test_what_is_announced_leaves_what_can_be_undone(page: Page, server: FakeServer) -> None:
    """The end of a reply once took the place of another conversation's Undo, and was seen there."""
    server.script = [text("Hi."), [{"content": "Slowly "}, HOLD, *text("but surely.")]]
    say(page, "First")
    finished(page)
    page.keyboard.press("Alt+n")
    say(page, "Second")
    expect(last_reply(page).locator(".prose")).to_have_text("Slowly")
    titles(page).nth(1).hover()
    page.get_by_role("button", name="Delete First").click()
    server.go_on.set()
    finished(page)
    expect(page.locator("#heard")).to_have_text("The reply is there: Slowly but surely.")
    page.get_by_role("button", name="Undo").click()
    expect(titles(page)).to_have_count(2)


def test_what_the_keyboard_reaches_is_seen(page: Page) -> None:
    panel = set_up(page)
    for before, name in (("System prompt", "Detail"), ("Seed", "Offer tools")):
        panel.get_by_label(before).focus()
        page.keyboard.press("Tab")
        field = panel.get_by_label(name)
        expect(field).to_be_focused()
        assert field.evaluate("node => getComputedStyle(node).outlineStyle") != "none"


GROUNDS = """(nodes) => nodes.map((node) => {
    const ground = (from) => {
        for (let at = from; at; at = at.parentElement) {
            const color = getComputedStyle(at).backgroundColor;
            if (color !== "rgba(0, 0, 0, 0)") return color;
        }
    };
    return [getComputedStyle(node).borderTopColor, ground(node), ground(node.parentElement)];
})"""  # the colours of a field's border, of its inside and of what is around it


def luminance(color: str) -> float:
    """As WCAG defines it, of `rgb(…)`."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_borders_of_fields_stand_out(page: Page, theme: str) -> None:
    """3:1 to both sides, as WCAG 1.4.11 asks; they once had the colour of mere lines, 1.2:1."""
    page.emulate_media(reduced_motion="reduce")
    set_up(page)
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    page.evaluate("document.activeElement.blur()")
    fields = page.locator(
        ".field, .chip span, #options :is(textarea, input:not([type=checkbox], [type=range]))"
    )
    found = fields.evaluate_all(GROUNDS)
    assert len(found) > 10
    for border, *grounds in found:
        for ground in grounds:
            dark, light = sorted((luminance(border), luminance(ground)))
            assert (light + 0.05) / (dark + 0.05) >= 3, (border, ground)


@pytest.mark.parametrize(("button", "dialog"), [("#help", "#keys"), ("#copy-as", "#code")])
def test_a_dialog_closes_by_its_button(page: Page, button: str, dialog: str) -> None:
    page.locator(button).click()
    page.locator(dialog).get_by_role("button", name="Close").click()
    expect(page.locator(dialog)).to_be_hidden()


def test_text_runs_as_its_script_does(page: Page, server: FakeServer) -> None:
    server.script = [text("שלום, עולם!\n\n", "Hello.\n\n", "```python\n# שלום\n```")]
    say(page, "مرحبا، كيف الحال؟")
    reply = finished(page)
    direction = "nodes => nodes.map((node) => getComputedStyle(node).direction)"
    assert page.locator(".said").evaluate_all(direction) == ["rtl"]
    assert reply.locator(".block").evaluate_all(direction) == ["rtl", "ltr", "ltr"]
    assert reply.locator("pre").evaluate_all(direction) == ["ltr"]
    assert titles(page).evaluate_all(direction) == ["rtl"]


def test_closed_panels_are_out_of_reach(page: Page) -> None:
    page.keyboard.press("Alt+b")
    expect(page.locator("#shelf")).to_be_hidden()
    expect(page.locator("#toggle-shelf")).to_have_attribute("aria-expanded", "false")
    for _ in range(30):
        page.keyboard.press("Tab")
        assert not page.evaluate("!!document.activeElement.closest('#shelf, #settings')")


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_is_wider_than_a_narrow_screen(page: Page, server: FakeServer, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    page.reload()
    wide = "| a | b | c |\n|---|---|---|\n| " + " | ".join(["longword" * 12] * 3) + " |"
    server.script = [text("x" * 300, "\n\n", wide, "\n\n```python\n", "y = 1; " * 60, "\n```\n")]
    say(page, "word" * 100)
    finished(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelector('#scroller').scrollWidth") <= width
    for block in page.locator(".message, #composer .field").all():
        box = block.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


def test_long_names_fit_a_narrow_screen(page: Page, server: FakeServer) -> None:
    page.set_viewport_size({"width": 320, "height": 700})
    server.models = ["google/gemma-4-26b-a4b-it-qat-q4_0-unquantized"]
    page.reload()
    expect(page.locator("#model")).to_have_value(server.models[0])
    server.script = [calls(("a_tool_with_a_long_name_" * 3, {}))]
    say(page, "Call it")
    finished(page)
    for part in page.locator(".bar button, .bar select, .call-name, .call-state").all():
        box = part.bounding_box()
        assert box is not None
        assert 0 <= box["x"] <= box["x"] + box["width"] <= 320


def test_words_of_a_wide_table_stay_whole_and_it_scrolls(page: Page, server: FakeServer) -> None:
    """They were once broken into letters before anything scrolled."""
    page.set_viewport_size({"width": 390, "height": 700})
    page.reload()
    row = "| " + " | ".join(f"Temperature{n}" for n in range(8)) + " |"
    server.script = [text("\n".join([row, "|---" * 8 + "|", row]))]
    say(page, "Table")
    reply = finished(page)
    heights = reply.locator("th").evaluate_all("nodes => nodes.map((n) => n.getBoundingClientRect().height)")
    assert max(heights) < 45
    assert reply.locator(".wide").evaluate("node => node.scrollWidth > node.clientWidth")
    assert page.evaluate("document.querySelector('#scroller').scrollWidth") <= 390


def test_on_a_narrow_screen_a_panel_lies_over_the_page_and_goes_again(page: Page, server: FakeServer) -> None:
    server.script = [text("Hi.")]
    page.set_viewport_size({"width": 390, "height": 800})
    page.reload()
    expect(page.locator("#shelf")).to_be_hidden()
    say(page, "Hello")
    finished(page)
    page.get_by_role("button", name="Conversations").click()
    expect(page.locator("#shelf")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#shelf")).to_be_hidden()
    expect(page.locator("#toggle-shelf")).to_be_focused()
    page.keyboard.press("Alt+b")
    titles(page).first.click()
    expect(page.locator("#shelf")).to_be_hidden()
    page.get_by_role("button", name="Settings", exact=True).click()
    expect(page.locator("#settings")).to_be_visible()
    page.get_by_role("button", name="Close settings").click()
    expect(page.locator("#settings")).to_be_hidden()


def test_the_page_goes_along_with_a_long_reply_unless_the_reader_looks_back(
    page: Page, server: FakeServer
) -> None:
    long = [{"content": f"Line {number}.\n\n"} for number in range(60)]
    server.script = [[*long, HOLD, *long, {"finish": "stop"}]]
    say(page, "Much")
    expect(last_reply(page).locator(".prose")).to_contain_text("Line 59.")
    at_end = "(() => { const s = document.querySelector('#scroller');"
    at_end += " return s.scrollHeight - s.scrollTop - s.clientHeight < 5; })()"
    until(page, at_end)
    page.locator("#scroller").hover()
    page.mouse.wheel(0, -900)
    until(page, f"!{at_end}")
    server.go_on.set()
    finished(page)
    assert not page.evaluate(at_end)


def test_a_long_reply_is_drawn_only_where_it_grows(page: Page, server: FakeServer) -> None:
    """Blocks that are finished stay the same nodes, however much comes after them."""
    server.script = [[{"content": "First block.\n\nSecond"}, HOLD, *text(" block.\n\n", "Third.")]]
    say(page, "Blocks")
    expect(last_reply(page).locator(".block")).to_have_count(2)
    page.evaluate("document.querySelector('.block').dataset.mark = 'kept'")
    server.go_on.set()
    reply = finished(page)
    expect(reply.locator(".block")).to_have_text(["First block.", "Second block.", "Third."])
    expect(reply.locator(".block").first).to_have_attribute("data-mark", "kept")


def test_code_is_coloured_and_copied(page: Page, server: FakeServer) -> None:
    server.script = [text("```python\nfor x in range(3):\n    print(x)\n```")]
    say(page, "Code")
    reply = finished(page)
    expect(reply.locator(".hljs-keyword").first).to_have_text("for")
    expect(reply.locator(".code-head span")).to_have_text("python")
    reply.get_by_role("button", name="Copy code").click()
    expect(page.locator("#said")).to_have_text(re.compile("Copied"))
    assert page.evaluate("navigator.clipboard.readText()") == "for x in range(3):\n    print(x)"
    assert replies(page).count() == 1
