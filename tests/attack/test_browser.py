"""A web page in a real browser does not get at a hub, in any of the browsers.

Each test prints what the page got. The last two show that the page would notice.
"""

from pathlib import Path

import pytest

from tests._support.plainclient import PlainAgent
from tests.attack import _browser as browser
from tests.attack._limited import LimitedHub, limited_hub

pytestmark = [
    pytest.mark.attack,
    pytest.mark.parametrize("name", browser.BROWSERS),
]

PATHS = ("/", "/health", "/api/hub", "/api/directory", "/.well-known/parler.json")


def plan(origins: list[str]) -> list[dict[str, object]]:
    """Everything a page can send to a hub, by each name the hub may have."""
    tries: list[dict[str, object]] = []
    for origin in origins:
        pages = [origin + path for path in PATHS]
        tries += browser.attempts("socket", [origin.replace("http", "ws", 1) + "/ws"])
        tries += browser.attempts("fetch", pages)
        # Each of these asks first (a preflight), except the second.
        tries += browser.attempts("fetch", pages[2:3], options={"method": "DELETE"})
        tries += browser.attempts("fetch", pages[2:3], options={"method": "POST"})
        tries += browser.attempts(
            "fetch",
            [origin + "/api/session"],
            options={"headers": {"Authorization": "Bearer guess"}},
        )
        tries += browser.attempts("frame", pages[:3])
        tries += browser.attempts("script", pages[2:3])
    return tries


async def attack(
    name: str, hub: LimitedHub, folder: Path, *, rebinding: bool
) -> dict[str, dict[str, object]]:
    """Open the page, as a site of another name or as one that rebinds its own."""
    async with browser.attackers_site(hub.address) as site:
        port = hub.address.rpartition(":")[2]
        home = site.url(browser.NAME)
        hosts = ("127.0.0.1", "localhost", "127.0.0.2", "0.0.0.0", "[::1]")
        there = [f"http://{host}:{port}" for host in hosts]
        site.plan = {
            "agent": PlainAgent.create("page").id,
            "site": site.url("127.0.0.1"),
            "rebind": rebinding,
            "attempts": plan([home] if rebinding else there),
        }
        report = await browser.open_page(name, site, home, folder)
    how = "after rebinding its name" if rebinding else "from another origin"
    browser.told(report, about=f"a page in {name} {how} got:")
    return report


async def test_page_of_another_origin_gets_no_word(name: str, tmp_path: Path) -> None:
    with limited_hub(tmp_path) as hub:
        report = await attack(name, hub, tmp_path, rebinding=False)
    assert report
    assert browser.frames(report) == {}
    assert browser.read(report) == {}
    assert not any(got.get("opened") or got.get("loaded") for got in report.values())


async def test_page_that_rebinds_its_name_gets_no_word(
    name: str, tmp_path: Path
) -> None:
    with limited_hub(tmp_path) as hub:
        report = await attack(name, hub, tmp_path, rebinding=True)
    assert browser.frames(report) == {}
    assert browser.read(report) == {}
    statuses = {got["status"] for got in report.values() if "status" in got}
    assert statuses == {421}, "the page must have reached the hub under its own name"


async def test_page_reads_of_a_public_hub_what_is_public(
    name: str, tmp_path: Path
) -> None:
    with limited_hub(tmp_path, "--public") as hub:
        report = await attack(name, hub, tmp_path, rebinding=False)
    assert browser.frames(report) == {}
    assert f"fetch http://{hub.address}/api/hub" in browser.read(report)
    assert not any("/api/session" in tried for tried in browser.read(report))


async def test_page_whose_origin_the_operator_allows_gets_in(
    name: str, tmp_path: Path
) -> None:
    with limited_hub(tmp_path, "--allow-origin", "*") as hub:
        report = await attack(name, hub, tmp_path, rebinding=False)
    assert f"socket ws://{hub.address}/ws" in browser.frames(report)
    assert f"fetch http://{hub.address}/api/hub" in browser.read(report)
