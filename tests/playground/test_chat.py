import re

import pytest
from playwright.sync_api import Page, expect
from starlette.responses import JSONResponse

from tests.playground.acts import finished, last_reply, replies, say, set_up, titles
from tests.playground.fake_server import CUT, HOLD, FakeServer, text, thought


def test_a_reply_is_shown_while_it_comes_and_counted_when_it_is_there(page: Page, server: FakeServer) -> None:
    server.script = [[{"content": "Gemma is "}, HOLD, *text("a **model**.")]]
    say(page, "What is Gemma?")
    expect(last_reply(page).locator(".prose")).to_have_text("Gemma is")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    server.go_on.set()
    reply = finished(page)
    expect(reply.locator("strong")).to_have_text("model")
    expect(reply.locator(".figures")).to_have_text(
        re.compile(r"^12 tokens · [\d.,]+ per second · first after \d+\.\d\d s · 1,500 read \(1,024 kept\)$")
    )
    assert server.bodies[0] == {
        "model": "nano",
        "messages": [{"role": "user", "content": "What is Gemma?"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "chat_template_kwargs": {"enable_thinking": False},
    }


def test_the_next_message_goes_with_the_whole_conversation(page: Page, server: FakeServer) -> None:
    server.script = [text("One."), text("Two.")]
    say(page, "First")
    finished(page)
    say(page, "Second")
    expect(replies(page)).to_have_count(2)
    finished(page)
    assert [(m["role"], m["content"]) for m in server.bodies[1]["messages"]] == [
        ("user", "First"),
        ("assistant", "One."),
        ("user", "Second"),
    ]


def test_thoughts_are_folded_and_can_be_read(page: Page, server: FakeServer) -> None:
    server.script = [[*thought("Let me ", "see."), *text("It is 663.")]]
    page.get_by_text("Think", exact=True).click()
    say(page, "What is 274 + 389?")
    reply = finished(page)
    assert server.bodies[0]["chat_template_kwargs"] == {"enable_thinking": True}
    expect(reply.locator(".prose")).to_have_text("It is 663.")
    thoughts = reply.locator(".thought-text")
    expect(thoughts).to_be_hidden()
    reply.get_by_text(re.compile(r"Thought for \d+\.\d s")).click()
    expect(thoughts).to_be_visible()
    expect(thoughts).to_have_text("Let me see.")


def test_a_reply_is_stopped_and_the_server_knows(page: Page, server: FakeServer) -> None:
    server.script = [[{"content": "On and "}, HOLD], text("Fresh.")]
    say(page, "Go on")
    expect(last_reply(page).locator(".prose")).to_have_text("On and")
    page.keyboard.press("Escape")
    reply = finished(page)
    expect(reply.locator(".problem")).to_have_text("Stopped.")
    expect(reply.locator(".prose")).to_have_text("On and")
    assert server.left.wait(10)


def test_a_connection_that_breaks_is_told_and_what_came_stays(page: Page, server: FakeServer) -> None:
    server.script = [[{"content": "Half a "}, HOLD, CUT]]
    say(page, "Hello")
    expect(last_reply(page).locator(".prose")).to_have_text("Half a")
    server.go_on.set()
    reply = finished(page)
    expect(reply.locator(".problem")).to_have_text("The connection ended before the reply did")
    expect(reply.locator(".prose")).to_have_text("Half a")


def test_a_reply_that_a_reload_ended_can_be_asked_for(page: Page, server: FakeServer) -> None:
    """A change of the settings once kept half of it as if it were whole."""
    server.script = [[{"content": "Half a "}, HOLD], text("A whole one.")]
    say(page, "Hello")
    expect(last_reply(page).locator(".prose")).to_have_text("Half a")
    system = set_up(page).get_by_label("System prompt")
    system.fill("Be brief.")
    page.keyboard.press("Tab")
    page.wait_for_timeout(500)
    page.reload()
    expect(page.locator("#model")).to_have_value("nano")
    expect(system).to_have_value("Be brief.")
    expect(replies(page)).to_have_count(0)
    page.get_by_role("button", name="Ask for a reply").click()
    expect(last_reply(page).locator(".prose")).to_have_text("A whole one.")


def test_a_reply_can_be_made_anew(page: Page, server: FakeServer) -> None:
    server.script = [text("One way."), text("Another way.")]
    say(page, "How?")
    finished(page).get_by_role("button", name="Another reply").click()
    expect(last_reply(page).locator(".prose")).to_have_text("Another way.")
    expect(replies(page)).to_have_count(1)
    assert server.bodies[1]["messages"] == server.bodies[0]["messages"]


def test_a_message_can_be_written_anew(page: Page, server: FakeServer) -> None:
    server.script = [text("Meow."), text("Woof.")]
    say(page, "What says a cat?")
    finished(page)
    page.locator(".user").hover()
    page.get_by_role("button", name="Edit and ask again").click()
    expect(page.get_by_label("Message", exact=True)).to_have_value("What says a cat?")
    expect(replies(page)).to_have_count(0)
    say(page, "What says a dog?")
    finished(page)
    assert [m["content"] for m in server.bodies[1]["messages"]] == ["What says a dog?"]


def test_what_an_edit_takes_away_can_be_brought_back(page: Page, server: FakeServer) -> None:
    server.script = [text("One."), text("Two.")]
    for place, words in enumerate(("First", "Second")):
        say(page, words)
        expect(replies(page)).to_have_count(place + 1)
        finished(page)
    page.locator(".user").first.hover()
    page.get_by_role("button", name="Edit and ask again").first.click()
    expect(replies(page)).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".said")).to_have_text(["First", "Second"])
    expect(replies(page).locator(".prose")).to_have_text(["One.", "Two."])


def test_another_reply_in_the_middle_can_be_taken_back(page: Page, server: FakeServer) -> None:
    server.script = [text("One."), text("Two."), [{"content": "Three."}, HOLD]]
    for place, words in enumerate(("First", "Second")):
        say(page, words)
        expect(replies(page)).to_have_count(place + 1)
        finished(page)
    page.get_by_role("button", name="Another reply").first.click()
    expect(replies(page).locator(".prose")).to_have_text(["Three."])
    page.get_by_role("button", name="Undo").click()
    expect(replies(page).locator(".prose")).to_have_text(["One.", "Two."])
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()
    assert server.left.wait(10)
    page.wait_for_timeout(500)
    page.reload()
    expect(replies(page).locator(".prose")).to_have_text(["One.", "Two."])


def test_what_the_server_refuses_is_told_in_its_own_words(page: Page, server: FakeServer) -> None:
    server.script = [JSONResponse({"error": {"message": "the prompt is too long"}}, 400), text("Fine.")]
    say(page, "Hello")
    expect(finished(page).locator(".problem")).to_have_text("the prompt is too long")
    say(page, "Shorter")
    expect(replies(page)).to_have_count(2)
    expect(finished(page).locator(".prose")).to_have_text("Fine.")
    assert [m["role"] for m in server.bodies[1]["messages"]] == ["user", "user"]


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (text("cut", finish="length"), "It ended at the most tokens."),
        (text(), "It said nothing."),
    ],
)
def test_a_reply_that_is_not_whole_says_so(
    page: Page, server: FakeServer, script: list[dict[str, str]], told: str
) -> None:
    server.script = [script]
    say(page, "Hello")
    expect(finished(page).locator(".problem")).to_have_text(told)


def test_a_key_is_asked_for_and_kept(page: Page, server: FakeServer) -> None:
    server.key = "s3cret"
    say(page, "Hello")
    expect(finished(page).locator(".problem")).to_have_text("give an API key")
    field = page.get_by_label("API key")
    expect(field).to_be_focused()
    field.fill("s3cret")
    server.script = [text("Welcome.")]
    finished(page).get_by_role("button", name="Another reply").click()
    expect(last_reply(page).locator(".prose")).to_have_text("Welcome.")
    page.reload()
    expect(page.locator("#model")).to_have_value("nano")


def test_the_models_are_read_once_the_key_is_right(page: Page, server: FakeServer) -> None:
    server.key = "s3cret"
    page.reload()
    field = page.get_by_label("API key")
    expect(field).to_be_focused()
    expect(page.locator("#model option")).to_have_count(0)
    field.fill("s3cret")
    page.keyboard.press("Tab")
    expect(page.locator("#model")).to_have_value("nano")


def test_conversations_outlive_a_reload_and_are_found_by_their_first_words(
    page: Page, server: FakeServer
) -> None:
    server.script = [text("Hi."), text("Sunny.")]
    say(page, "Hello there")
    finished(page)
    page.get_by_role("button", name="New conversation").first.click()
    say(page, "How is the weather?")
    finished(page)
    expect(titles(page)).to_have_text(["How is the weather?", "Hello there"])
    page.reload()
    expect(last_reply(page).locator(".prose")).to_have_text("Sunny.")
    titles(page).nth(1).click()
    expect(last_reply(page).locator(".prose")).to_have_text("Hi.")


def test_conversations_are_renamed_and_deleted_and_deleting_can_be_undone(
    page: Page, server: FakeServer
) -> None:
    server.script = [text("Hi.")]
    say(page, "Hello there")
    finished(page)
    titles(page).first.hover()
    page.get_by_role("button", name="Rename Hello there").click()
    page.get_by_label("Title").fill("Greetings")
    page.keyboard.press("Enter")
    expect(titles(page)).to_have_text(["Greetings"])
    page.get_by_role("button", name="Delete Greetings").click()
    expect(titles(page)).to_have_count(0)
    expect(page.locator(".greeting")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(last_reply(page).locator(".prose")).to_have_text("Hi.")
    titles(page).first.hover()
    page.get_by_role("button", name="Delete Greetings").click()
    expect(titles(page)).to_have_count(0)
    page.reload()
    expect(titles(page)).to_have_count(0)


def test_a_title_that_is_being_written_outlives_the_end_of_a_reply(page: Page, server: FakeServer) -> None:
    server.script = [[{"content": "Slowly "}, HOLD, *text("but surely.")]]
    say(page, "Slow one")
    expect(last_reply(page).locator(".prose")).to_have_text("Slowly")
    titles(page).first.hover()
    page.get_by_role("button", name="Rename Slow one").click()
    field = page.get_by_label("Title", exact=True)
    field.fill("Half a ti")
    server.go_on.set()
    finished(page)
    expect(field).to_be_focused()
    page.keyboard.type("tle")
    page.keyboard.press("Enter")
    expect(titles(page)).to_have_text(["Half a title"])
    expect(titles(page).first).to_be_focused()


def test_a_reply_goes_on_while_another_conversation_is_read(page: Page, server: FakeServer) -> None:
    server.script = [[{"content": "Slowly "}, HOLD, *text("but surely.")], text("Quick.")]
    say(page, "Slow one")
    expect(last_reply(page).locator(".prose")).to_have_text("Slowly")
    page.keyboard.press("Alt+n")
    say(page, "Quick one")
    expect(last_reply(page).locator(".prose")).to_have_text("Quick.")
    server.go_on.set()
    titles(page).get_by_text("Slow one").click()
    expect(finished(page).locator(".prose")).to_have_text("Slowly but surely.")


def test_another_model_can_be_chosen(page: Page, server: FakeServer) -> None:
    server.script = [text("Hi.")]
    page.get_by_label("Model", exact=True).select_option("e4b")
    say(page, "Hello")
    finished(page)
    assert server.bodies[0]["model"] == "e4b"
    page.get_by_label("Model", exact=True).select_option("nano")
    page.wait_for_timeout(500)
    page.reload()
    expect(last_reply(page).locator(".prose")).to_have_text("Hi.")
    expect(page.get_by_label("Model", exact=True)).to_have_value("nano")


def test_a_conversation_that_is_left_is_not_drawn_any_more(page: Page, server: FakeServer) -> None:
    """The frame that was due for its reply once failed: the reply's place on the page was gone."""
    page.evaluate(
        "() => { window.requestAnimationFrame = (draw) => setTimeout(draw, 500);"
        " window.cancelAnimationFrame = clearTimeout; }"
    )
    server.script = [[{"content": "Slowly "}, HOLD]]
    say(page, "Slow one")
    page.wait_for_timeout(250)
    page.keyboard.press("Alt+n")
    expect(page.locator(".greeting")).to_be_visible()
    page.wait_for_timeout(700)


def test_two_tabs_hold_the_same_conversations(page: Page, server: FakeServer) -> None:
    """Each once kept its own, so that what was said in one was lost as soon as the other went on."""
    server.script = [text("One."), text("Two."), text("Three.")]
    say(page, "First")
    finished(page)
    other = page.context.new_page()
    other.goto("/")
    expect(other.locator("#model")).to_have_value("nano")
    expect(last_reply(other).locator(".prose")).to_have_text("One.")
    say(page, "Second")
    expect(replies(other).locator(".prose")).to_have_text(["One.", "Two."])
    say(other, "Third")
    expect(replies(page).locator(".prose")).to_have_text(["One.", "Two.", "Three."])
    said = [message["content"] for message in server.bodies[-1]["messages"]]
    assert said == ["First", "One.", "Second", "Two.", "Third"]
    titles(other).first.hover()
    other.get_by_role("button", name="Delete First").click()
    expect(titles(page)).to_have_count(0)


def test_a_browser_without_room_is_told_of(page: Page, server: FakeServer) -> None:
    page.evaluate(
        "() => { IDBObjectStore.prototype.put = () => {"
        " throw new DOMException('full', 'QuotaExceededError'); }; }"
    )
    server.script = [text("Hi.")]
    say(page, "Hello")
    expect(page.locator("#said")).to_have_text("Not kept: this browser has no room left for it")
    expect(finished(page).locator(".prose")).to_have_text("Hi.")


def test_the_page_works_where_the_browser_keeps_nothing(page: Page, server: FakeServer) -> None:
    page.add_init_script(
        "for (const name of ['localStorage', 'indexedDB']) Object.defineProperty(window, name,"
        " { get() { throw new DOMException('forbidden', 'SecurityError'); } });"
    )
    page.reload()
    expect(page.locator("#model")).to_have_value("nano")
    expect(page.locator("#said")).to_contain_text("This browser keeps nothing")
    server.key = "s3cret"
    set_up(page).get_by_label("API key").fill("s3cret")
    server.script = [text("Hi.")]
    say(page, "Hello")
    expect(finished(page).locator(".prose")).to_have_text("Hi.")
