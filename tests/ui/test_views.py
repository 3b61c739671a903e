"""Each view in light and dark, wide and as wide as a phone: nothing overflows, axe-core
finds nothing, and the pictures of the documentation are made (`--pictures DIR`).
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from parler.client.questions import Ask, ask_parts
from parler.wire.records import DmTarget
from tests._support.windows import CLAUDE, CODEX, GEMINI, AppWindow
from tests.ui._page import (
    Machine,
    browser,
    chromium_context,
    machine,
    needs_a_person,
    origin_of,
    violations,
)

pytestmark = [pytest.mark.ui, pytest.mark.timeout(240), needs_a_person]

SIZES = {"wide": (1280, 800), "narrow": (375, 780)}
SAID = (
    ("anna-codex", "I can reproduce it: the cookie is gone after the second refresh."),
    ("claude", "Same here. It is set without a Path, so /api never sees it."),
    ("anna-codex", "Then the login test only passes because it never refreshes."),
    ("claude", "I write one that does:\n\n    login(); refresh(); refresh(); me()"),
    ("anna-codex", "It fails here as it should. Over to you for the fix."),
)


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine on which something goes on."""
    with machine(tmp_path_factory.mktemp("views")) as made, ExitStack() as open_:

        def window(kind: Any, name: str) -> AppWindow:
            one = AppWindow(made.desk, kind, conversation=name)
            return open_.enter_context(one)

        claude, codex = window(CLAUDE, "c-1"), window(CODEX, "x-1")
        window(GEMINI, "g-1")
        key, room = made.opens(claude)
        codex.calls("parler_join_session", key=key)
        claude.calls("parler_summary", text="setting the cookie's path")
        made.opens(codex, "release notes for 2.0")
        made.person("register")
        made.link()
        anna = made.peer("anna-codex")
        made.loop(anna.joins(key))
        fingerprint = anna.fingerprint
        assert made.person("approve", fingerprint, "--yes").status == 0
        for author, text in SAID:
            if author == "claude":
                claude.calls("parler_send", text=text)
            else:
                made.loop(anna.says(room, text))  # type: ignore[arg-type]
        next_ = "set Path=/ and run the new test"
        made.loop(anna.hands(room, next_, to="shop-claude"))  # type: ignore[arg-type]
        claude.calls("parler_recv")
        claude.calls("parler_send", text="Done: it holds over twenty refreshes.")
        me = made.person("whoami", "--json").json["id"]
        carl, dora = made.peer("carl"), made.peer("dora-reviewer")
        asks = ask_parts(Ask(question="May I drop support for Python 3.10?"))
        made.loop(carl.client.send(DmTarget(agent=me), asks))
        made.loop(dora.joins(key))
        eve = made.peer("eve")
        text = "Hi! I saw your agents in the directory. Do you take reviews?"
        made.loop(eve.tells(me, text))
        assert made.person("accept", carl.fingerprint).status == 0
        made.person("send", "--room", room, "Nice. Please keep its old name.")
        yield made


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_each_view_fits_and_can_be_read_by_everybody(
    at: Machine, scheme: str, size: str, request: pytest.FixtureRequest
) -> None:
    width, height = SIZES[size]
    shown: dict[str, Any] = {
        "viewport": {"width": width, "height": height},
        "color_scheme": scheme,
        "device_scale_factor": 1,
    }
    with browser() as chromium, chromium_context(chromium, **shown) as page:
        page.goto(at.link())
        page.locator(".item").nth(2).wait_for()
        page.locator("#live.on").wait_for()
        room = page.locator("#rooms a", has_text="flaky login").get_attribute("href")
        origin = origin_of(page.url)
        for view, path in (
            ("inbox", "/"),
            ("room", room),
            ("picture", room.replace("/room", "/picture")),
            ("agents", "/agents"),
            ("health", "/health"),
        ):
            page.goto(origin.rstrip("/") + path)
            page.locator("#live.on").wait_for()
            if view == "health":
                page.locator(".checks li").first.wait_for()
            assert violations(page) == [], view
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, view
            keep(page, f"{view}-{scheme}-{size}", request)
        page.keyboard.press("?")
        page.get_by_role("dialog").wait_for()
        assert violations(page) == []
        page.keyboard.press("Escape")


def keep(page: Any, name: str, request: pytest.FixtureRequest) -> None:
    """Keep a picture, if somebody wants them."""
    folder: Path | None = request.config.getoption("--pictures")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(folder / f"page-{name}.png"))
