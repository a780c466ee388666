import json

from playwright.sync_api import Page, expect

from tests.playground.acts import as_code, finished, last_reply, replies, say, set_up
from tests.playground.fake_server import HOLD, FakeServer, calls, text, thought

TOOLS = [{"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}]


def offer(page: Page) -> None:
    panel = set_up(page)
    panel.get_by_label("Offer tools").check()
    panel.get_by_label("Tools as JSON").fill(json.dumps(TOOLS))


def test_calls_are_shown_answered_by_hand_and_the_model_goes_on(page: Page, server: FakeServer) -> None:
    offer(page)
    server.script = [
        [*thought("Two sums."), *calls(("add", {"a": 1}), ("add", {"a": 2}))],
        text("1 and 2."),
        text("Again."),
    ]
    say(page, "Add both")
    cards = page.locator(".call")
    expect(cards).to_have_count(2)
    expect(cards.first.locator(".call-name")).to_have_text("add")
    expect(cards.first.locator("code")).to_have_text('{\n  "a": 1\n}')
    first = page.get_by_label("Result of add").first
    expect(first).to_be_focused()
    first.fill("one")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Result of add")).to_be_focused()
    page.get_by_label("Result of add").fill("two")
    page.get_by_role("button", name="Answer").click()
    expect(last_reply(page).locator(".prose")).to_have_text("1 and 2.")
    expect(replies(page)).to_have_count(2)
    first_body, then = server.bodies
    assert first_body["tools"] == [{"type": "function", "function": TOOLS[0]}]
    asked, *told = then["messages"][1:]
    assert asked == {
        "role": "assistant",
        "content": "",
        "reasoning": "Two sums.",
        "tool_calls": [
            {
                "id": f"call_add_{n}",
                "type": "function",
                "function": {"name": "add", "arguments": f'{{"a": {n + 1}}}'},
            }
            for n in (0, 1)
        ],
    }
    assert told == [
        {"role": "tool", "tool_call_id": "call_add_0", "content": "one"},
        {"role": "tool", "tool_call_id": "call_add_1", "content": "two"},
    ]
    page.get_by_text("Result", exact=True).first.click()
    expect(page.locator(".result pre").first).to_have_text("one")


def test_open_calls_survive_a_reload_and_come_before_the_next_message(page: Page, server: FakeServer) -> None:
    offer(page)
    server.script = [calls(("add", {"a": 1})), text("It is 1.")]
    say(page, "Add")
    expect(page.get_by_label("Result of add")).to_be_visible()
    page.reload()
    expect(page.locator("#model")).to_have_value("nano")
    say(page, "And now?")
    expect(page.locator("#said")).to_have_text("First give the results that the model waits for")
    expect(page.get_by_label("Message", exact=True)).to_have_value("And now?")
    expect(page.get_by_label("Result of add")).to_be_focused()
    page.keyboard.type("1")
    page.keyboard.press("Enter")
    expect(last_reply(page).locator(".prose")).to_have_text("It is 1.")


def test_a_call_that_is_still_written_cannot_be_answered_yet(page: Page, server: FakeServer) -> None:
    offer(page)
    pieces = calls(("add", {"a": 1}))
    server.script = [[pieces[0], HOLD, *pieces[1:]]]
    say(page, "Add")
    expect(page.locator(".call-state")).to_have_text("calling…")
    expect(page.get_by_label("Result of add")).to_have_count(0)
    server.go_on.set()
    finished(page)
    expect(page.locator(".call-state")).to_have_text("waits for you")


def test_a_call_that_is_cut_off_goes(page: Page, server: FakeServer) -> None:
    """Its card once stayed, and was "calling…" for ever."""
    offer(page)
    server.script = [[{"content": "I add."}, calls(("add", {"a": 1}))[0], HOLD]]
    say(page, "Add")
    expect(page.locator(".call-state")).to_have_text("calling…")
    page.keyboard.press("Escape")
    expect(finished(page).locator(".problem")).to_have_text("Stopped.")
    expect(page.locator(".call")).to_have_count(0)


def test_a_reload_behind_the_last_result_leaves_a_way_to_go_on(page: Page, server: FakeServer) -> None:
    offer(page)
    server.script = [calls(("add", {"a": 1})), [HOLD], text("It is 1.")]
    say(page, "Add")
    page.get_by_label("Result of add").fill("1")
    page.keyboard.press("Enter")
    expect(replies(page)).to_have_count(2)
    page.wait_for_timeout(500)
    page.reload()
    expect(page.locator("#model")).to_have_value("nano")
    expect(replies(page)).to_have_count(1)
    page.get_by_role("button", name="Ask for a reply").click()
    expect(last_reply(page).locator(".prose")).to_have_text("It is 1.")
    assert server.bodies[-1]["messages"] == server.bodies[-2]["messages"]


def test_a_result_waits_for_settings_that_are_right(page: Page, server: FakeServer) -> None:
    offer(page)
    server.script = [calls(("add", {"a": 1})), text("It is 1.")]
    say(page, "Add")
    result, tools = page.get_by_label("Result of add"), page.get_by_label("Tools as JSON")
    expect(result).to_be_visible()
    tools.fill("[")
    result.fill("1")
    page.keyboard.press("Enter")
    expect(tools).to_be_focused()
    assert len(server.bodies) == 1
    tools.fill(json.dumps(TOOLS))
    page.get_by_role("button", name="Ask for a reply").click()
    expect(last_reply(page).locator(".prose")).to_have_text("It is 1.")


def test_while_calls_wait_the_code_is_of_what_was_asked(page: Page, server: FakeServer) -> None:
    """Calls without results are a request that every server refuses."""
    offer(page)
    server.script = [calls(("add", {"a": 1}))]
    say(page, "Add")
    expect(page.get_by_label("Result of add")).to_be_visible()
    assert "tool_calls" not in as_code(page, "curl")


def test_tools_that_are_no_json_are_refused_where_they_stand(page: Page, server: FakeServer) -> None:
    offer(page)
    field = page.get_by_label("Tools as JSON")
    field.fill('[{"name": ')
    expect(page.locator("#tools-problem")).not_to_be_empty()
    expect(field).to_have_attribute("aria-invalid", "true")
    say(page, "Add")
    expect(field).to_be_focused()
    assert server.bodies == []
    field.fill('[{"description": "has no name"}]')
    expect(page.locator("#tools-problem")).to_have_text("Tool 1 has no name")
    field.fill(json.dumps(TOOLS))
    expect(page.locator("#tools-problem")).to_be_empty()
