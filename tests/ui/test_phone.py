"""A phone: paired by a code, it decides, looks and asks, and nobody else does.

The phone is a second browser that has never been anywhere; the hub stands behind TLS.
"""

import os
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from parler.identity.signing import fingerprint
from parler.ui.remote import KIND
from parler.wire.base import Code, RoomName
from parler.wire.parts import OtherPart, TextPart
from parler.wire.records import RoomTarget
from parler.wire.replies import Joined, JoinPending
from parler.wire.requests import Redeem
from tests._support.mcp_peers import Peer
from tests._support.processes import Agent, HubProcess, running_hub
from tests._support.terminal import Terminal, at_a_terminal
from tests._support.tls import Front, self_made, tls_front
from tests.parler.ask._fakes import FakeClaude
from tests.ui._page import (
    NO_LIMITS,
    Loop,
    browser,
    chromium_context,
    needs_a_person,
    violations,
)

pytestmark = [pytest.mark.ui, needs_a_person]

PHONE = {
    "ignore_https_errors": True,
    "viewport": {"width": 375, "height": 740},
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 2,
    "user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Safari",
}
PICTURES = "PARLER_TEST_PICTURES"
"""A folder for what the phone shows, to be looked at."""


@dataclass
class Place:
    """A person's machine, and a hub behind TLS."""

    folder: Path
    hub: HubProcess
    front: Front
    loop: Loop
    person: Agent

    @contextmanager
    def pairing(self) -> Iterator[tuple[Terminal, str]]:
        """A code at the person's terminal; gives the terminal and the address."""
        person = self.person
        with at_a_terminal(
            "ui", "--phone", cwd=person.folder, env=person.environment
        ) as terminal:
            shown = terminal.until("photograph this")
            link = next(word for word in shown.split() if word.startswith("https://"))
            yield terminal, link

    def pairs(self, page: Any) -> str:
        """Pair a phone; returns the address of the code that did it."""
        with self.pairing() as (terminal, link):
            page.goto(link)
            code = page.locator("#code").inner_text()
            assert code in terminal.until("[y/N]")
            terminal.type("y")
            terminal.until("may now decide")
            assert terminal.end() == 0
        page.get_by_role("heading", name="Inbox").wait_for()
        return link

    def knocks(self, page: Any, who: str, topic: str) -> tuple[Peer, Code, RoomName]:
        """Have somebody knock at a new session of the person, which the phone shows."""
        opened = self.person("session", "open", "--topic", topic, "--json").json
        bob = self.loop.peer(self.hub.url, who)
        self.loop(bob.joins(opened["key"]))
        page.locator(".card.knock", has_text=topic).wait_for()
        code = Code(opened["key"].partition("@")[0])
        return bob, code, RoomName(opened["room"])

    def enters(self, who: Peer, code: Code) -> bool:
        """Whether somebody who knocked is in by now."""
        found = self.loop(who.client.request(Redeem(code=code), (Joined, JoinPending)))
        return isinstance(found, Joined)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Place]:
    certificate, key = self_made(tmp_path)
    loop, stack = Loop(), AsyncExitStack()
    front = loop(stack.enter_async_context(tls_front(certificate, key)))
    limits = {**NO_LIMITS, "PARLER_HUB_URL": front.url}
    with running_hub(tmp_path / "hub", plain=False, **limits) as hub:
        front.behind = hub.url
        person = Agent(tmp_path, "ann", front.url, SSL_CERT_FILE=str(certificate))
        try:
            yield Place(tmp_path, hub, front, loop, person)
        finally:
            person("ui", "--stop")
            loop(stack.aclose())
            loop.close()


@pytest.fixture
def phone(chromium: Any) -> Iterator[Any]:
    with chromium_context(chromium, **PHONE) as made:
        yield made


def test_a_knock_is_approved_from_the_phone_and_the_joiner_gets_in(
    at: Place, phone: Any
) -> None:
    at.pairs(phone)
    bob, code, room = at.knocks(phone, "bob", "flaky login")
    knock = phone.locator(".card.knock")
    assert fingerprint(bob.client.agent_id) in knock.inner_text()
    assert violations(phone) == []
    _picture(phone, "inbox")
    phone.get_by_role("button", name="Approve").tap()
    phone.get_by_text("is in").wait_for()
    assert at.enters(bob, code)
    phone.get_by_text("Nothing waits for you.").wait_for()
    # What is said there is seen, and is text.
    said = "<img src=x onerror=window.hit=1> \u202egnp"
    at.loop(bob.client.send(RoomTarget(room=room), [TextPart(said)]))
    phone.get_by_role("button", name="flaky login").tap()
    line = phone.locator(".card .text", has_text="<img src=x")
    line.wait_for()
    assert "\u202e" not in line.inner_text()
    assert violations(phone) == []
    _picture(phone, "room")
    phone.get_by_role("button", name="Back").tap()
    assert phone.evaluate("() => window.hit") is None
    assert phone.evaluate("() => location.hash") == ""
    # Its operator sees that something is said, and how much.
    with at.hub.database.open("rb") as raw:
        stored = (
            raw.read()
            + at.hub.database.with_name(f"{at.hub.database.name}-wal").read_bytes()
        )
    assert b"com.parler.remote" in stored
    assert b'"decide"' not in stored
    assert at.person("devices", "--json").json["devices"][0]["name"] == "iPhone"
    # Neither its room nor its words wait for anybody.
    assert at.person("inbox", "--json").json["items"] == []


def test_a_question_goes_to_the_projects_own_agent_and_its_answer_comes_back(
    at: Place, phone: Any
) -> None:
    claude = FakeClaude(at.folder / "fake")
    claude.plays(text="The webhook fix is in review.")
    environment = at.person.environment
    environment["PATH"] = f"{claude.bin}{os.pathsep}{environment['PATH']}"
    folder = at.folder / "stagent"
    folder.mkdir()
    assert at.person("project", "add", "stagent", str(folder), "--json").json
    at.pairs(phone)
    phone.get_by_label("Question").fill("how is the webhook fix going?")
    phone.get_by_role("button", name="Ask").tap()
    phone.locator("#answer", has_text="The webhook fix is in review.").wait_for()
    [run] = claude.runs
    assert "how is the webhook fix going?" in run["stdin"] + " ".join(run["argv"])
    _picture(phone, "answer")


def test_a_code_lets_in_one_phone_once_and_the_person_sees_which(
    at: Place, chromium: Any, phone: Any
) -> None:
    with chromium_context(chromium, **PHONE) as thief:
        with at.pairing() as (terminal, link):
            thief.goto(link)
            code = thief.locator("#code").inner_text()
            phone.goto(link)
            phone.get_by_text("lets no phone in any more").wait_for()
            assert phone.locator("#code").count() == 0
            terminal.until(code)
            terminal.type("n")
            terminal.until("no phone was paired")
        thief.get_by_text("said no").wait_for()
    assert at.person("devices", "--json").json["devices"] == []
    used = at.pairs(phone)
    with chromium_context(chromium, **PHONE) as late:
        late.goto(used)
        late.get_by_text("lets no phone in any more").wait_for()
        # Two phones stand beside one another.
        at.pairs(late)
        names = [one["name"] for one in at.person("devices", "--json").json["devices"]]
        assert names == ["iPhone", "iPhone-2"]


def test_a_decision_in_which_the_network_is_lost_is_made_once_and_not_lost(
    at: Place, phone: Any
) -> None:
    at.pairs(phone)
    bob, code, _ = at.knocks(phone, "bob", "flaky login")
    at.loop(at.front.cut())
    phone.get_by_text("No connection to the hub").wait_for()
    phone.get_by_role("button", name="Approve").tap()
    phone.get_by_text("Kept here, and done once").wait_for()
    assert not at.enters(bob, code)
    at.front.open = True
    phone.get_by_text("is in").wait_for()
    assert at.enters(bob, code)
    # The machine is off: the phone says so, and keeps what is decided meanwhile.
    at.knocks(phone, "eve", "broken build")
    at.person("ui", "--stop")
    phone.get_by_role("button", name="Reject").tap()
    phone.get_by_text("does not answer").wait_for()
    _picture(phone, "off")
    at.person("ui", "--print")
    phone.get_by_text("stays out").wait_for()
    assert at.person("inbox", "--json").json["items"] == []


def test_a_removed_phone_and_a_stranger_get_nothing_done(at: Place, phone: Any) -> None:
    at.pairs(phone)
    bob, code, _ = at.knocks(phone, "bob", "flaky login")
    # What anybody may send to the person is no phone's word.
    at.person("register")
    forged = {"kind": KIND, "v": 1, "n": 9, "box": "AAAA"}
    room = at.loop(bob.tells(_person(at), "hello"))
    at.loop(bob.client.send(RoomTarget(room=room), [OtherPart(KIND, forged)]))
    phone.locator(".card.request").wait_for()
    assert not at.enters(bob, code)

    # Nor can an agent of this machine pair one, or take one away.
    agent = Agent(at.folder, "agent", at.front.url, CLAUDECODE="1")
    for words in (("ui", "--phone"), ("devices", "remove", "iphone")):
        refused = agent(*words, "--home", str(at.person.home), "--json")
        assert "an agent cannot" in refused.error["message"]

    gone = at.person("devices", "remove", "iphone", "--json").json["device"]
    assert gone["name"] == "iPhone"
    phone.get_by_text("This phone was removed").wait_for()
    assert not at.enters(bob, code)
    assert at.person("devices", "--json").json["devices"] == []


def _person(at: Place) -> str:
    return str(at.person("whoami", "--json").json["id"])


def _picture(page: Any, name: str) -> None:
    """What it looks like, in light and in dark."""
    folder = os.environ.get(PICTURES)
    for scheme in ("light", "dark") if folder else ():
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=f"{folder}/phone-{name}-{scheme}.png", full_page=True)
