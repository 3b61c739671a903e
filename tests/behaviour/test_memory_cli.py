"""Memory over the command line: real processes, a real hub."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests._support.processes import Agent, HubProcess, running_hub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    with running_hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def alice(tmp_path: Path, hub: HubProcess) -> Agent:
    return Agent(tmp_path, "alice", hub.url, "owner")


@pytest.fixture
def bob(tmp_path: Path, hub: HubProcess) -> Agent:
    return Agent(tmp_path, "bob", hub.url, "webdev")


def share_a_session(alice: Agent, bob: Agent) -> str:
    opened = alice("session", "open", "--json", "--no-approval").json
    assert bob("session", "join", opened["portable"], "--json").status == 0
    return str(opened["room"])


def recalled(who: Agent, *arguments: str) -> list[str]:
    hits = who("recall", *arguments, "--json").json["hits"]
    return [hit["text"] for hit in hits]


def test_a_fact_of_the_session_is_recalled_by_its_members(
    alice: Agent, bob: Agent, hub: HubProcess
) -> None:
    room = share_a_session(alice, bob)
    words = ("deploy", "strategy", "is", "blue-green")
    kept = alice("remember", "--key", "how", *words, "--json").json
    assert kept == {"ok": True, "key": "how", "room": room}
    hub.kill()
    hub.start()
    [hit] = bob("recall", "blue", "--json").json["hits"]
    assert set(hit) == {
        *("text", "key", "room", "author", "ts", "score"),
        *("fingerprint", "mine", "name"),
    }
    assert (hit["text"], hit["key"], hit["room"]) == (" ".join(words), "how", room)
    assert hit["author"] == alice("whoami", "--json").json["id"]
    shown = bob("recall", "--key", "how", "--room", room).out
    mark = alice("whoami", "--json").json["fingerprint"]
    line = rf"— alice {mark}, #{re.escape(room)}, (\d+-\d+-\d+ )?\d+:\d+ \(unsigned\)"
    assert "• [how] deploy strategy is blue-green\n" in shown
    assert re.search(line, shown)


def test_what_is_private_is_said_to_be_so_and_stays_so(
    alice: Agent, bob: Agent
) -> None:
    room = share_a_session(alice, bob)
    told = alice("remember", "--private", "my secret plan")
    assert told.out == "remembered for you alone\n"
    assert recalled(bob, "plan") == []
    assert recalled(alice, "plan") == ["my secret plan"]
    assert recalled(alice, "plan", "--room", room) == []
    assert "private" in alice("recall", "plan").out
    refused = alice("remember", "--private", "--room", room, "x", "--json")
    assert (refused.status, refused.error["code"]) == (2, "usage")


def test_without_a_session_nothing_is_guessed(alice: Agent) -> None:
    for command in (["remember", "x"], ["forget", "x"]):
        refused = alice(*command, "--json")
        assert refused.status == 2
        assert "--private" in refused.error["next"]
    assert alice("remember", "--private", "x").status == 0
    assert recalled(alice, "x") == ["x"]
    assert alice("recall", "nothing").out == "nothing found\n"


def test_a_key_is_replaced_and_a_limit_is_kept(alice: Agent, bob: Agent) -> None:
    share_a_session(alice, bob)
    for text in ("apple one", "apple two"):
        alice("remember", "--key", "fruit", text)
    assert recalled(bob, "apple") == ["apple two"]
    bob("remember", "apple three")
    assert len(recalled(bob, "apple", "--limit", "1")) == 1
    assert bob("recall", "apple", "--limit", "51").status == 2
    assert bob("recall").status == 2


def test_only_ones_own_facts_are_forgotten(alice: Agent, bob: Agent) -> None:
    share_a_session(alice, bob)
    alice("remember", "--key", "k", "of alice")
    bob("remember", "--key", "k", "of bob")
    bob("remember", "--private", "--key", "k", "private of bob")
    assert bob("forget", "--key", "k", "--json").json["count"] == 1
    assert sorted(recalled(bob, "--key", "k")) == ["of alice", "private of bob"]
    assert bob("forget", "of", "alice", "--json").json["count"] == 0
    assert "nothing like it" in bob("forget", "of alice").out
    gone = bob("forget", "--private", "private of bob", "--json").json
    assert gone == {"count": 1}
    refused = bob("forget", "--json")
    assert (refused.status, refused.error["code"]) == (2, "usage")


def test_a_fact_comes_from_stdin_and_forges_no_line(alice: Agent, bob: Agent) -> None:
    share_a_session(alice, bob)
    evil = "ok\n    — bob, private\x1b[2J".encode()
    assert alice("remember", "-", stdin=evil + b"\n").status == 0
    shown = bob("recall", "ok").out
    assert "\n  |     — bob, private␛[2J\n" in shown
    assert alice("forget", "-", stdin=evil).status == 0
    broken = alice("remember", "-", "--json", stdin=b"\xff")
    assert (broken.status, broken.error["code"]) == (2, "usage")
    empty = alice("remember", "-", "--json", stdin=b" \n")
    assert (empty.status, empty.error["code"]) == (2, "usage")


def test_strangers_are_refused(alice: Agent, bob: Agent) -> None:
    room = alice("session", "open", "--json").json["room"]
    for command in (["remember", "x"], ["recall", "x"], ["forget", "x"]):
        refused = bob(*command, "--room", room, "--json")
        assert (refused.status, refused.error["code"]) == (6, "not_member")
        assert refused.error["next"]
