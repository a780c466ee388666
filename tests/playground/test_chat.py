import re

import pytest
from playwright.sync_api import Page, expect
from starlette.responses import JSONResponse

from tests.playground.acts import finished, last_reply, replies, say, titles
from tests.playground.fake_server import HOLD, FakeServer, text, thought


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
