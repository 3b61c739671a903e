"""The person's page in a real browser, with real agents at a real hub.

Each test prints what it measured.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parler.wire.parts import DataPart
from tests._support.windows import CLAUDE, CODEX, AppWindow
from tests.ui._page import (
    CONTEXT,
    TOPIC,
    Machine,
    browser,
    chromium_context,
    machine,
    needs_a_person,
    origin_of,
    told,
    until,
    violations,
)

pytestmark = [pytest.mark.ui, needs_a_person]

MANY = 10_000
HOSTILE = [
    "<img src=x onerror=window.hit=1><script>window.hit=1</script>",
    "{{ 7*7 }} {% include 'base.html' %} ${1+1} </ol></main><h1>Approved</h1>",
    "\u202egnp.exe\u2066 \x1b[31mred\x07 \u200b\ufeff javascript:window.hit=1",
    "[click](javascript:window.hit=1) https://evil.example/x?\u2028&amp;<b>",
]
OBSERVER = """() => {
  window.seen = {};
  new MutationObserver((all) => {
    const now = performance.timeOrigin + performance.now();
    for (const one of all) for (const node of one.addedNodes)
      if (node.dataset?.seq) window.seen[node.dataset.seq] ??= now;
  }).observe(document.getElementById("lines"), { childList: true });
}"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Machine]:
    with machine(tmp_path) as made:
        yield made


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    with chromium_context(chromium) as made:
        yield made


def windows(at: Machine) -> tuple[AppWindow, AppWindow]:
    """Two windows of one project, to be closed by who opens them."""
    return (
        AppWindow(at.desk, CLAUDE, conversation="c-1"),
        AppWindow(at.desk, CODEX, conversation="x-1"),
    )


def test_a_knock_at_two_idle_agents_is_approved_in_the_page(
    at: Machine, page: Any
) -> None:
    claude, codex = windows(at)
    with claude, codex:
        key, _ = at.opens(claude)
        codex.calls("parler_join_session", key=key)
        link = at.link()
        page.goto(link.partition("#")[0])
        page.get_by_text("a link that works once").wait_for()
        page.goto(link)  # pasted into the same tab, which loads nothing
        page.get_by_text("Nothing waits for you.").wait_for()
        # Two windows of one project are told apart.
        names = page.locator("#peers .title").all_inner_texts()
        assert {*names} == {"shop-claude", "shop-codex"}

        bob = AppWindow(
            type(at.desk)(at.folder / "bob", at.hub.url), CODEX, conversation="b-1"
        )
        with bob:
            assert "You knocked" in bob.calls("parler_join_session", key=key)
            knock = page.locator(".item.knock")
            knock.wait_for()
            assert TOPIC in knock.inner_text()
            assert page.title().startswith("(1)")
            assert violations(page) == []
            clicked = time.monotonic()
            page.get_by_role("button", name="Approve").click()
            entered = ""
            while CONTEXT not in entered:
                entered = bob.calls("parler_recv", wait_secs=10)
            took = (time.monotonic() - clicked) * 1000
            told("from the click until the joiner's model has the context", ms=took)
            assert took < 2000
            page.get_by_role("button", name="Undo").wait_for()

            # A model of theirs is told who speaks when the person does.
            page.get_by_role("link", name=TOPIC).first.click()
            page.locator("#words").fill("keep the cookie's name")
            page.keyboard.press("Enter")
            line = page.locator(".line", has_text="keep the cookie's name")
            line.wait_for()
            assert "you" in line.locator(".by").inner_text()
            assert "keep the cookie's name" in bob.calls("parler_recv", wait_secs=5)
            bob.calls("parler_rooms")  # what it was handed arrived
            line.get_by_text("seen by").wait_for()
            assert violations(page) == []


def test_what_is_said_is_on_the_screen_at_once(at: Machine, page: Any) -> None:
    with AppWindow(at.desk, CLAUDE, conversation="c-1") as claude:
        key, room = at.opens(claude)
        bob = at.peer("bob")
        at.loop(bob.joins(key))
        page.goto(at.link())
        page.get_by_role("button", name="Approve").click()
        page.locator(".item.done").wait_for()
        page.get_by_role("link", name=TOPIC).first.click()
        page.locator("#live.on").wait_for()
        page.evaluate(OBSERVER)
        took = []
        for number in range(20):
            began = time.time() * 1000
            seq = at.loop(bob.says(room, f"step {number}"))  # type: ignore[arg-type]
            until(page, f"window.seen[{seq}]")
            took.append(page.evaluate(f"window.seen[{seq}]") - began)
        took.sort()
        told("from sending to the screen, median of 20", ms=took[10])
        told("from sending to the screen, slowest of 20", ms=took[-1])
        assert took[10] < 100
        # Its own author is told by nobody: the page looks.
        claude.calls("parler_send", text="said by the only one who listens")
        page.get_by_text("said by the only one who listens").wait_for()


def test_a_room_of_ten_thousand_messages_opens_at_its_end(
    at: Machine, page: Any
) -> None:
    async def fill(peer: Any, room: str) -> None:
        for start in range(0, MANY, 20):
            said = [f"message {number}" for number in range(start, start + 20)]
            await asyncio.gather(*(peer.says(room, one) for one in said))

    with AppWindow(at.desk, CLAUDE, conversation="c-1") as claude:
        key, room = at.opens(claude)
        bob = at.peer("bob")
        at.loop(bob.joins(key))
        page.goto(at.link())
        page.get_by_role("button", name="Approve").click()
        page.locator(".item.done").wait_for()
        at.loop(fill(bob, room), 200)
        page.goto(origin_of(at.link()) + "/")
        page.locator("#live.on").wait_for()
        link = page.get_by_role("link", name=TOPIC).first.get_attribute("href")
        page.goto(origin_of(at.link()) + link)
        page.get_by_text(f"message {MANY - 1}").wait_for()
        paint, answered = page.evaluate(
            "[performance.getEntriesByName('first-contentful-paint')[0].startTime,"
            " performance.getEntriesByType('navigation')[0].responseEnd]"
        )
        told(f"first paint of a room of {MANY:,} messages", ms=paint)
        told("of which until its answer was there", ms=answered)
        assert paint < 1000
        assert page.locator(".line").count() < 100
        scroll = page.locator("#scroll")
        assert scroll.evaluate("o => o.scrollHeight - o.scrollTop - o.clientHeight") < 5
        first = page.locator(".line").first.get_attribute("data-seq")
        page.locator("#earlier").click()
        until(page, f"document.querySelector('.line').dataset.seq < {first}")
        # What was read stays where it is.
        assert page.locator(f"#m{first}").is_visible()


def test_whatever_peers_write_is_text(at: Machine, page: Any) -> None:
    with AppWindow(at.desk, CLAUDE, conversation="c-1") as claude:
        key, room = at.opens(claude)
        names = [at.peer(one[:60]) for one in HOSTILE]
        for one in names:
            at.loop(one.joins(key))
        page.goto(at.link())
        page.locator(".item.knock").nth(len(names) - 1).wait_for()
        for _ in names:
            page.locator(".item:not(.done) [data-act=approve]").first.click()
            page.locator(".item.done").first.wait_for()
        page.get_by_role("link", name=TOPIC).first.click()
        for one, said in zip(names, HOSTILE, strict=True):
            at.loop(one.says(room, said, DataPart(data={said: said})))  # type: ignore[arg-type]
        at.loop(names[0].says(room, "x" * (2**20 - 4096)))  # type: ignore[arg-type]
        page.get_by_role("button", name="Show the other").wait_for()
        assert page.locator(".line").count() == len(HOSTILE) + 2
        page.get_by_role("button", name="Show the other").click()
        long = "(one) => one.textContent.length > 1000000"
        until(page, f"[...document.querySelectorAll('.piece')].some({long})")
        lines = page.locator("#lines")
        shown = lines.inner_text()
        assert "<img src=x onerror=window.hit=1>" in shown
        assert "{{ 7*7 }}" in shown
        assert not {"\u202e", "\u2066", "\x1b", "\u200b"} & {*shown}
        assert lines.locator("img, script, b, h1, a").count() == 0
        assert page.evaluate("window.hit") is None
        # Nothing was asked of anybody else.
        asked = page.evaluate(
            "performance.getEntriesByType('resource').map((one) => one.name)"
        )
        assert {one.split("/")[2] for one in asked} == {page.url.split("/")[2]}


def test_questions_and_strangers_are_decided_in_the_list(
    at: Machine, page: Any
) -> None:
    from parler.client.questions import Ask, ask_parts
    from parler.wire.records import DmTarget

    at.person("register")
    page.goto(at.link())
    me = json.loads(at.person("whoami", "--json").out)["id"]
    carl = at.peer("carl")
    asks = ask_parts(Ask(question="which port does it use?"))
    at.loop(carl.client.send(DmTarget(agent=me), asks))
    stranger = page.locator(".item.request")
    stranger.wait_for()
    assert "which port does it use?" in stranger.inner_text()
    # By keyboard alone.
    page.keyboard.press("j")
    page.keyboard.press("y")
    question = page.locator(".item.question")
    question.wait_for()
    question.focus()
    page.keyboard.press("y")
    page.keyboard.type("7171")
    page.keyboard.press("Control+Enter")
    page.get_by_text("Nothing waits for you.").wait_for()
    at.loop(carl.client.pull(_direct(at, carl), since=0))


def _direct(at: Machine, who: Any) -> Any:
    from parler.wire.replies import RoomList
    from parler.wire.requests import Rooms

    [room] = at.loop(who.client.request(Rooms(), RoomList)).rooms
    texts = at.loop(who.texts(room.name))
    assert texts[-1] == "7171"
    return room.name


def test_the_page_says_what_is_gone_and_comes_back(at: Machine, page: Any) -> None:
    with AppWindow(at.desk, CLAUDE, conversation="c-1") as claude:
        at.opens(claude)
        page.goto(at.link())
        page.get_by_role("link", name=TOPIC).wait_for()
        other = page.context.new_page()  # a second view of one page
        other.goto(origin_of(at.link()) + "/")
        other.locator("#live.on").wait_for()
        at.hub.kill()
        page.locator("#trouble .away").wait_for()
        other.locator("#trouble .away").wait_for()
        at.hub.start()
        page.locator("#trouble .away").wait_for(state="detached")
        at.stop()
        page.get_by_text("ended: run parler ui").wait_for()
        link = at.link()
        page.goto(link)
        page.get_by_role("link", name=TOPIC).wait_for()


def test_after_an_upgrade_the_page_is_another_and_the_browser_is_told(
    at: Machine, page: Any
) -> None:
    page.goto(at.link())
    page.locator("#live.on").wait_for()
    typing = page.context.new_page()
    typing.goto(origin_of(at.link()) + "/")
    with AppWindow(at.desk, CLAUDE, conversation="c-1") as claude:
        at.opens(claude)
        typing.get_by_role("link", name=TOPIC).first.click()
        typing.locator("#live.on").wait_for()
        typing.locator("#words").fill("half a thought")
        # As if the running process had been left by an older version.
        running = at.person.home / "ui" / "running.json"
        old = json.loads(running.read_bytes())
        running.write_text(json.dumps(old | {"version": "0.0.1"}), encoding="utf-8")
        for one in (page, typing):
            one.evaluate(
                "() => document.querySelector('meta[name=parler-version]')"
                ".setAttribute('content', '0.0.1')"
            )
        third = page.context.new_page()
        third.goto(at.link())
        third.locator("#live.on").wait_for()
        new = json.loads(running.read_bytes())
        assert (new["port"], new["pid"] == old["pid"]) == (old["port"], False)
        # One was loaded anew; the other keeps what was typed, and still speaks.
        another = "meta[name=parler-version]:not([content='0.0.1'])"
        page.locator(another).wait_for(state="attached")
        typing.get_by_text("load this page again").wait_for()
        assert typing.locator("#words").input_value() == "half a thought"
        typing.get_by_role("button", name="Send").click()
        typing.locator(".line", has_text="half a thought").wait_for()
