"""Pages with bad intentions, in the browser that the person's page is open in."""

from pathlib import Path

import pytest

from tests._support.windows import CLAUDE, AppWindow
from tests.ui._page import (
    EVIL,
    browser,
    chromium_context,
    is_out,
    listening,
    machine,
    needs_a_person,
    origin_of,
    told,
)

pytestmark = [pytest.mark.ui, needs_a_person]

TRIES = """async ([origin, item]) => {
  const found = {};
  const tried = async (name, work) => {
    try { found[name] = await work(); } catch (error) { found[name] = "refused"; }
  };
  const read = async (options, path = "/") =>
    (await (await fetch(origin + path, options)).text()).slice(0, 200);
  await tried("read", () => read({ credentials: "include" }));
  await tried("read blindly", () => read({ credentials: "include", mode: "no-cors" }));
  const body = JSON.stringify(item);
  const post = { method: "POST", body, credentials: "include" };
  const headers = { "content-type": "application/json" };
  await tried("post", () => read({ ...post, headers }, "/do/approve"));
  await tried("post blindly", () => read({ ...post, mode: "no-cors" }, "/do/approve"));
  await tried("enter", () => read({ method: "POST", body: '{"token": "x"}',
    mode: "no-cors" }, "/enter"));
  const loads = (tag, path) => new Promise((done) => {
    const one = document.createElement(tag);
    one.onload = () => done("loaded");
    one.onerror = () => done("refused");
    one.src = origin + path;
    document.body.append(one);
  });
  await tried("script", () => loads("script", "/static/page.js"));
  await tried("image", () => loads("img", "/static/icon.svg"));
  const frame = document.createElement("iframe");
  frame.src = origin + "/";
  document.body.append(frame);
  await new Promise((done) => { frame.onload = done; setTimeout(done, 2000); });
  await tried("frame", () => frame.contentDocument.body.innerText || "refused");
  await tried("events", () => new Promise((done) => {
    const source = new EventSource(origin + "/events?view=home",
      { withCredentials: true });
    source.onopen = () => done("opened");
    source.onerror = () => done("refused");
  }));
  await tried("socket", () => new Promise((done) => {
    const socket = new WebSocket(origin.replace("http", "ws") + "/events");
    socket.onopen = () => done("opened");
    socket.onerror = () => done("refused");
  }));
  return found;
}"""


def test_no_page_of_another_origin_gets_a_word_or_decides(tmp_path: Path) -> None:
    with (
        machine(tmp_path) as at,
        AppWindow(at.desk, CLAUDE, conversation="c-1") as claude,
        browser() as chromium,
        chromium_context(chromium) as page,
        listening() as (port, _),
    ):
        key, room = at.opens(claude)
        bob = at.peer("bob")
        at.loop(bob.joins(key))
        link = at.link()
        origin, own = origin_of(link), link.rpartition(":")[2].partition("/")[0]
        page.goto(link)
        knock = page.locator(".item.knock")
        knock.wait_for()
        item = knock.evaluate("(one) => ({...one.dataset})")

        # One that the browser takes for the same site, one with a name of its own, and
        # one that has rebound its name to where the page is.
        evil = page.context.new_page()
        statuses: list[tuple[str, int]] = []
        evil.on(
            "response",
            lambda got: (
                statuses.append((got.url, got.status))
                if f":{own}/" in got.url
                else None
            ),
        )
        for home in (f"http://127.0.0.1:{port}/", f"http://{EVIL}:{port}/"):
            evil.goto(home)
            found = evil.evaluate(TRIES, [origin, item])
            told(f"what {home} got", **found)
            assert {*found.values()} <= {"refused", ""}, found
        assert {status for _, status in statuses} == {403}, "it has to get there"
        assert evil.goto(f"http://{EVIL}:{own}/").status == 421
        assert evil.goto(f"http://localhost:{own}/").status == 421
        assert knock.is_visible()
        assert at.loop(is_out(bob, room))


def test_a_link_lets_one_browser_in_once(tmp_path: Path) -> None:
    with (
        machine(tmp_path) as at,
        browser() as chromium,
        chromium_context(chromium) as page,
        chromium_context(chromium) as thief,
    ):
        link = at.link()
        thief.goto(origin_of(link) + "/")
        assert "parler ui" in thief.locator("main").inner_text()
        page.goto(link)
        page.get_by_text("Nothing waits for you.").wait_for()
        assert "#" not in page.evaluate("location.href + document.referrer")
        [cookie] = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert page.evaluate("document.cookie") == ""
        for used in (link, link[:-1] + "A"):
            thief.goto("about:blank")
            thief.goto(used)
            thief.get_by_text("This link was used before").wait_for()
        assert thief.context.cookies() == []
        assert thief.goto(origin_of(link) + "/agents").status == 401
