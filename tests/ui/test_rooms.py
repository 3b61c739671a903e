"""What is done with a room in the page: find, hand over, invite, rename, remove,
export, and follow a link; by keyboard, by thumb, and as axe-core wants it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parler.errors import InvalidInvite
from parler.wire.parts import HandoffPart
from tests._support.windows import CLAUDE, AppWindow
from tests.ui._page import (
    EVIL,
    TOPIC,
    Machine,
    browser,
    chromium_context,
    is_out,
    listening,
    machine,
    needs_a_person,
    until,
    violations,
)
from tests.ui.test_views import keep

pytestmark = [pytest.mark.ui, needs_a_person, pytest.mark.timeout(240)]

WIDTHS = {"wide": (1200, 800), "narrow": (375, 740)}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Machine]:
    with machine(tmp_path) as made:
        yield made


def opened(page: Any, key: str, name: str) -> Any:
    """Open a form by its key, and look at it as everybody has to be able to."""
    page.locator("#live.on").wait_for()  # until then a press is lost
    page.keyboard.press(key)
    dialog = page.locator("#tool[open]")
    dialog.locator("h2").wait_for()
    assert violations(page) == [], name
    return dialog


def test_a_room_is_put_in_order_without_leaving_it(
    at: Machine, chromium: Any, request: pytest.FixtureRequest
) -> None:
    with (
        AppWindow(at.desk, CLAUDE, conversation="c-1") as claude,
        chromium_context(chromium, viewport=_size("wide")) as page,
    ):
        key, room = at.opens(claude)
        bob = at.peer("bob")
        at.loop(bob.joins(key))
        page.goto(at.link())
        page.get_by_role("link", name=TOPIC).first.click()
        # Who knocks here is let in here.
        page.locator("#knocks .item").wait_for()
        page.get_by_role("button", name="Approve").click()
        page.locator("#members", has_text="bob").wait_for()
        at.loop(bob.says(room, "the needle is in here somewhere"))  # type: ignore[arg-type]
        for number in range(70):
            at.loop(bob.says(room, f"hay {number}"))  # type: ignore[arg-type]
        page.get_by_text("hay 69").wait_for()

        find = opened(page, "/", "find")
        page.keyboard.type("NEEDLE")
        page.keyboard.press("Enter")
        find.locator("#found a").click()
        page.locator(".line.wanted", has_text="the needle").wait_for()
        page.get_by_role("link", name="Go to its end").click()
        page.get_by_text("hay 69").wait_for()
        find = opened(page, "/", "find")
        today = page.evaluate("() => new Date().toLocaleDateString('sv')")
        find.get_by_label("Not before").fill(today)
        find.get_by_role("button", name="Go to that day").click()
        page.locator("#m1.wanted").wait_for()
        page.get_by_role("link", name="Go to its end").click()

        page.get_by_text("hay 69").wait_for()
        hand = opened(page, "h", "hand over")
        hand.locator("[name=to]").select_option("bob")
        hand.get_by_label("What to do next").fill("set Path=/")
        keep(page, "hand-light-wide", request)
        page.keyboard.press("Control+Enter")
        page.locator(".piece.handoff", has_text="set Path=/").wait_for()
        said = at.loop(bob.client.pull(room, since=72)).messages  # type: ignore[arg-type]
        [handed] = [
            part for one in said for part in one.parts if isinstance(part, HandoffPart)
        ]
        assert (handed.to, handed.next) == ("bob", "set Path=/")

        rename = opened(page, "t", "rename")
        rename.get_by_label("What it is about now").fill("cart <b>and</b> checkout")
        page.keyboard.press("Enter")
        title = page.locator("#title")
        title.get_by_text("cart <b>and</b> checkout").wait_for()
        page.keyboard.press("u")
        title.get_by_text(TOPIC, exact=True).wait_for()

        invite = opened(page, "i", "invite")
        invite.get_by_role("button", name="Make a key").click()
        invite.locator(".qr svg").wait_for()
        assert violations(page) == []
        keep(page, "key-light-wide", request)
        made = invite.locator("dd code").first.inner_text().partition("@")[0]
        assert f"/join/{made}" in invite.locator("dd code").nth(1).inner_text()
        carl = at.peer("carl")
        at.loop(carl.joins(made))
        page.keyboard.press("Escape")
        page.locator("#knocks .item", has_text="carl").wait_for()
        page.get_by_role("button", name="Reject").click()
        page.locator("#knocks .item.done").wait_for()

        invite = opened(page, "i", "invite")
        invite.get_by_role("button", name="Make a key").click()
        made = invite.locator("dd code").first.inner_text().partition("@")[0]
        page.keyboard.press("Escape")
        keys = opened(page, "w", "keys")
        row = keys.locator("li", has_text=made)
        row.get_by_role("button", name="Revoke").click()
        sure = page.locator("#sure[open]")
        assert "who is in stays" in sure.inner_text()
        assert violations(page) == []
        sure.get_by_role("button", name="No").click()
        assert row.is_visible()
        row.get_by_role("button", name="Revoke").click()
        sure.get_by_role("button", name="Yes").click()
        row.wait_for(state="detached")
        with pytest.raises(InvalidInvite):
            at.loop(carl.joins(made))
        page.keyboard.press("Escape")

        opened(page, "x", "export")
        with page.expect_download() as kept:
            page.get_by_role("link", name="For programs").click()
        lines = Path(kept.value.path()).read_text(encoding="utf-8").splitlines()
        assert [json.loads(one)["seq"] for one in lines] == [*range(1, len(lines) + 1)]
        assert kept.value.suggested_filename.endswith(".jsonl")

        member = page.locator("#members li", has_text="bob")
        member.get_by_role("button", name="Remove").click()
        assert bob.fingerprint in sure.inner_text()
        sure.get_by_role("button", name="Yes").click()
        member.wait_for(state="detached")
        assert at.loop(is_out(bob, room))


def test_a_link_is_followed_once_its_host_was_read(at: Machine, chromium: Any) -> None:
    with (
        AppWindow(at.desk, CLAUDE, conversation="c-1") as claude,
        chromium_context(chromium, viewport=_size("narrow"), has_touch=True) as page,
        listening() as (port, asked),
    ):
        key, room = at.opens(claude)
        bob = at.peer("bob")
        at.loop(bob.joins(key))
        page.goto(at.link())
        page.get_by_role("link", name=TOPIC).first.click()
        page.get_by_role("button", name="Approve").click()
        page.locator("#knocks .item.done").wait_for()
        url = f"http://{EVIL}:{port}/a?b=c"
        at.loop(
            bob.says(
                room,  # type: ignore[arg-type]
                f"look: {url}. and https://p\u0430ypal.example/ or javascript:hit()",
            )
        )
        link = page.locator("button.link").first
        link.wait_for()
        assert page.locator("button.link").count() == 2
        assert "xn--" in page.locator(".host").inner_text()
        link.tap()
        leave = page.locator("#leave[open]")
        assert f"{EVIL}:{port}" in leave.locator("#leave-host").inner_text()
        assert violations(page) == []
        assert asked == []
        leave.get_by_role("button", name="Stay").tap()
        link.tap()
        with page.expect_popup() as there:
            leave.get_by_role("link", name="Open it").tap()
        there.value.wait_for_load_state()
        assert there.value.url == url
        [(path, headers)] = [one for one in asked if one[0] != "/favicon.ico"]
        assert path == "/a?b=c"
        assert "referer" not in headers
        assert there.value.evaluate("window.opener") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", WIDTHS)
def test_each_form_fits_and_can_be_read_by_everybody(
    at: Machine,
    chromium: Any,
    scheme: str,
    size: str,
    request: pytest.FixtureRequest,
) -> None:
    shown: dict[str, Any] = {"viewport": _size(size), "color_scheme": scheme}
    with (
        AppWindow(at.desk, CLAUDE, conversation="c-1") as claude,
        chromium_context(chromium, **shown) as page,
    ):
        at.opens(claude)
        page.goto(at.link())
        page.get_by_role("link", name=TOPIC).first.click()
        page.locator("#live.on").wait_for()
        for name in (
            "menu",
            "find",
            "hand",
            "invite",
            "key",
            "keys",
            "rename",
            "export",
        ):
            if name == "key":
                page.get_by_role("button", name="Make a key").click()
                page.locator(".qr svg").wait_for()
            else:
                page.locator("[data-form=menu]").click()
                if name != "menu":
                    page.locator(f"#tool [data-form={name}]").click()
            page.locator("#tool h2").wait_for()
            until(page, "!document.getAnimations().length")
            assert violations(page) == [], name
            wide = "(one) => one.scrollWidth > one.clientWidth"
            assert not page.locator("#tool").evaluate(wide), name
            keep(page, f"form-{name}-{scheme}-{size}", request)
            if name != "invite":
                page.keyboard.press("Escape")


def _size(name: str) -> dict[str, int]:
    width, height = WIDTHS[name]
    return {"width": width, "height": height}
