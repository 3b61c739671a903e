"""What the page may cost while it is open all day, measured in the browser and printed
as lines of JSON; and what is to hold when much comes at once.
"""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests._support.mcp_peers import Peer
from tests._support.windows import CLAUDE, AppWindow
from tests.ui._page import (
    TOPIC,
    Machine,
    browser,
    chromium_context,
    machine,
    needs_a_person,
    origin_of,
    told,
    until,
)

pytestmark = [pytest.mark.ui, needs_a_person, pytest.mark.timeout(420)]

HOUR = 3600
"""Messages of a busy room in an hour: one a second."""

KNOCKS = 200
MAX_NODES = 30_000
MAX_HEAP_MB = 60
NAMES = (
    *(
        "\u05d3\u05df",
        "\u0645\u0631\u064a\u0645",
        "\u0e2a\u0e21\u0e28\u0e31\u0e01\u0e14\u0e34\u0e4c",
    ),
    *(
        "\u674e\u56db",
        "\u0905\u0928\u0941",
        "Z\u0351\u036b\u0343\u036a\u0302\u036b",
        "\U0001f469\u200d\U0001f4bb",
        "\u202eevil",
    ),
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Machine]:
    with machine(tmp_path) as made:
        yield made


async def fill(peer: Peer, room: str, count: int) -> None:
    for start in range(0, count, 20):
        said = [f"step {one} of the hour" for one in range(start, start + 20)]
        await asyncio.gather(*(peer.says(room, one) for one in said))  # type: ignore[arg-type]


def weight(page: Any) -> dict[str, float]:
    """What a page takes, once nothing is left of what it dropped."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    found = {
        one["name"]: one["value"]
        for one in session.send("Performance.getMetrics")["metrics"]
    }
    session.detach()
    return {"nodes": found["Nodes"], "heap_mb": found["JSHeapUsedSize"] / 2**20}


def entered(at: Machine, page: Any, claude: AppWindow) -> tuple[Peer, str]:
    """Somebody else in a room whose transcript is open."""
    key, room = at.opens(claude)
    bob = at.peer("bob")
    at.loop(bob.joins(key))
    page.goto(at.link())
    page.get_by_role("link", name=TOPIC).first.click()
    page.get_by_role("button", name="Approve").click()
    page.locator("#members", has_text="bob").wait_for()
    return bob, room


def test_an_hour_of_a_busy_room_leaves_the_page_as_light_as_it_was(
    at: Machine, chromium: Any
) -> None:
    with (
        AppWindow(at.desk, CLAUDE, conversation="c-1") as claude,
        chromium_context(chromium) as page,
        chromium_context(chromium) as above,
    ):
        bob, room = entered(at, page, claude)
        before = weight(page)
        above.goto(at.link())
        at.loop(fill(bob, room, 200))
        above.get_by_role("link", name=TOPIC).first.click()
        above.locator("#live.on").wait_for()
        above.locator("#scroll").evaluate("(one) => (one.scrollTop = 400)")
        first = above.locator(".line").nth(5).get_attribute("id")
        at.loop(fill(bob, room, HOUR), 300)
        page.get_by_text(f"step {HOUR - 1} of the hour").wait_for()
        after = weight(page)
        told("a page before an hour of a busy room", **before)
        told("after it, at the end of the room", **after)
        assert after["nodes"] < MAX_NODES
        assert after["heap_mb"] < MAX_HEAP_MB
        # Who reads above stays there, and comes to the end by one press.
        told("after it, far above", **weight(above))
        assert above.locator(".line").count() <= 1000
        assert above.locator(f"#{first}").is_visible()
        above.locator("#newest").click()
        above.get_by_text(f"step {HOUR - 1} of the hour").wait_for()


def test_two_hundred_knocks_at_once_are_a_list_one_can_use(
    at: Machine, chromium: Any
) -> None:
    with (
        AppWindow(at.desk, CLAUDE, conversation="c-1") as claude,
        chromium_context(chromium) as page,
    ):
        at.opens(claude)
        page.goto(at.link())
        page.get_by_role("link", name=TOPIC).first.click()
        keys = []
        for _ in range(KNOCKS // 100):
            page.locator("[data-form=invite]").click()
            page.locator("[name=uses]").select_option("100")
            page.get_by_role("button", name="Make a key").click()
            keys.append(page.locator("#tool dd code").first.inner_text())
            page.keyboard.press("Escape")
        origin = origin_of(page.url).partition("/room")[0]
        page.goto(f"{origin}/")
        page.locator("#live.on").wait_for()
        names = [*NAMES, *(f"bob-{one}" for one in range(KNOCKS))][:KNOCKS]
        everybody = [at.peer(one) for one in names]
        began = time.monotonic()
        for at_, one in enumerate(everybody):
            at.loop(one.joins(keys[at_ // 100]))
        knocks = page.locator(".item.knock")
        knocks.nth(KNOCKS - 1).wait_for()
        told(
            f"{KNOCKS} knocks, until the last is shown",
            ms=1000 * (time.monotonic() - began),
        )
        shown = page.locator("#inbox").inner_text()
        assert "\u202e" not in shown
        for name in NAMES[:5]:
            assert name in shown
        clicked = time.monotonic()
        knocks.last.get_by_role("button", name="Reject").click()
        page.locator(".item.done").wait_for()
        told("a decision among them", ms=1000 * (time.monotonic() - clicked))
        until(page, f"document.title.startsWith('({KNOCKS - 1})')")


def test_a_restored_database_is_what_the_page_shows(at: Machine, chromium: Any) -> None:
    with (
        AppWindow(at.desk, CLAUDE, conversation="c-1") as claude,
        chromium_context(chromium) as page,
    ):
        bob, room = entered(at, page, claude)
        at.loop(bob.says(room, "before the backup"))  # type: ignore[arg-type]
        page.get_by_text("before the backup").wait_for()
        kept, database = str(at.folder / "kept"), str(at.hub.database)
        assert at.person("hub", "backup", kept, "--db", database).status == 0
        at.loop(bob.says(room, "lost with the disk"))  # type: ignore[arg-type]
        page.get_by_text("lost with the disk").wait_for()
        at.hub.kill()
        page.locator("#trouble .away").wait_for()
        restored = at.person("hub", "restore", kept, "--db", database, "--force")
        assert restored.status == 0, restored.err
        at.hub.start()
        page.locator("#trouble .away").wait_for(state="detached")
        claude.calls("parler_send", text="said after the restore")
        page.get_by_text("said after the restore").wait_for()


def test_a_desktop_is_told_only_of_decisions_and_only_when_asked(
    at: Machine, chromium: Any
) -> None:
    stub = """() => {
      const told = [];
      class Stub {
        static permission = "granted";
        static requestPermission = async () => "granted";
        constructor(title, options) { told.push({ title, ...options }); }
      }
      window.Notification = Stub;
      Document.prototype.hasFocus = () => false;
      window.rung = told;
    }"""
    with (
        AppWindow(at.desk, CLAUDE, conversation="c-1") as claude,
        chromium_context(chromium) as page,
    ):
        page.add_init_script(f"({stub})()")
        key, _ = at.opens(claude)
        page.goto(at.link())
        page.locator("#live.on").wait_for()
        at.loop(at.peer("carl").joins(key))
        page.locator(".item.knock").wait_for()
        assert page.evaluate("window.rung") == []
        page.get_by_role("button", name="Notify me").click()
        page.get_by_role("button", name="Notifying").wait_for()
        at.loop(at.peer("e\u202evil <b>").joins(key))
        until(page, "window.rung.length")
        [rung] = page.evaluate("window.rung")
        assert rung["title"] == "Parler"
        assert rung["body"].endswith("knocks at a room of yours")
        assert "\u202e" not in rung["body"]
        page.get_by_role("button", name="Notifying").click()
        at.loop(at.peer("dora").joins(key))
        page.locator(".item.knock").nth(2).wait_for()
        assert len(page.evaluate("window.rung")) == 1
