"""The hub's own pages in a real browser: a session to read along, and an invitation.

With `HUB_PICTURES` set to a folder, each is photographed there.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests._support.plainclient import Link, PlainAgent
from tests._support.plainhttp import http_link
from tests._support.processes import HubProcess, running_hub
from tests.conformance.steps import open_room
from tests.ui._page import (
    WAIT_MS,
    Loop,
    browser,
    chromium_context,
    told,
    violations,
)

pytestmark = pytest.mark.ui

HOSTILE = '<img src=x onerror="document.title=1">\u202e</li>'
GUESSES = 10_000
WIDTHS = (1200, 375)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    with running_hub(tmp_path, PARLER_HUB_MAX_HTTP_PER_MIN="0") as started:
        yield started


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


@contextmanager
def owner_at(hub: HubProcess, loop: Loop) -> Iterator[Link]:
    """Whoever opens sessions."""
    dialled = PlainAgent.create("ada").dial(hub.url)
    yield loop(dialled.__aenter__())
    loop(dialled.__aexit__(None, None, None))


def photographed(page: Any, name: str) -> None:
    """Look at a page wide and narrow, in light and dark."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name} is {wide} wide at {width}"
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found = violations(page)
            assert not found, found
            if folder := os.environ.get("HUB_PICTURES"):
                page.screenshot(path=f"{folder}/{name}-{width}-{scheme}.png")


def test_a_session_is_read_along_live_as_text_and_until_its_link_ends(
    hub: HubProcess, loop: Loop, chromium: Any
) -> None:
    with owner_at(hub, loop) as ada:
        _read_along(hub, loop, chromium, ada)


def _read_along(hub: HubProcess, loop: Loop, chromium: Any, ada: Link) -> None:
    room = loop(open_room(ada))["room"]
    loop(ada.send_text(room, "We found that the cookie is lost on refresh."))
    token = loop(ada.ask("watch", "mint_watch", room=room))["token"]
    origin = hub.url.replace("ws", "http", 1)
    asked: list[str] = []
    with chromium_context(chromium) as page:
        page.on("request", lambda one: asked.append(one.url))
        page.goto(f"{origin}/session#{token}")
        page.get_by_text("the cookie is lost").wait_for()
        assert token not in page.url
        assert "nothing is checked here" in page.inner_text("main")
        loop(ada.send_text(room, HOSTILE))
        loop(ada.send_text(room, "x" * 100_000))
        page.locator("#messages > li").nth(2).wait_for()
        shown = page.locator("#messages blockquote").nth(1).inner_text()
        assert shown == HOSTILE.replace("\u202e", r"\u202e")
        assert page.locator("#messages img").count() == 0
        photographed(page, "session")
        page.reload()
        page.get_by_text("the cookie is lost").wait_for()
        loop(ada.ask("tokens_revoked", "revoke_tokens", room=room))
        page.get_by_text("opens nothing any more").wait_for(timeout=WAIT_MS)
        assert page.locator("#room").is_hidden()
        photographed(page, "session-ended")
    assert not any(token in url for url in asked)
    assert all(url.startswith(origin) for url in asked)


def test_an_invitation_is_a_page_and_guessing_finds_none(
    hub: HubProcess, loop: Loop, chromium: Any
) -> None:
    with owner_at(hub, loop) as ada:
        code = loop(open_room(ada))["code"]
    origin = hub.url.replace("ws", "http", 1)
    with chromium_context(chromium) as page:
        page.goto(f"{origin}/join/{code}")
        page.get_by_text(f"parler session join {code}@").first.wait_for()
        photographed(page, "join")
        page.goto(f"{origin}/join/ABCD2345")
        page.get_by_text("This opens nothing").wait_for()
        photographed(page, "join-unknown")

    async def guess() -> dict[int, int]:
        seen: dict[int, int] = {}
        async with http_link(hub.url, local_address="127.0.0.66") as link:
            for number in range(GUESSES):
                right = number % 1000 == 999  # also the right one, once over the limit
                target = f"/join/{code if right else f'AAAA{number:04}'}"
                status = (await link.ask(target)).status
                seen[status] = seen.get(status, 0) + 1
        return seen

    seen = loop(guess())
    told("answers to guesses", **{str(status): n for status, n in seen.items()})
    # A minute may end meanwhile, and with it the first thirty.
    assert set(seen) == {404, 429}
    assert seen[404] <= 60
