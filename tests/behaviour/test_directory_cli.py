"""The directory over the command line: real processes, a real hub."""

import json
import sqlite3
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests._support.polling import WAIT
from tests._support.processes import Agent, HubProcess, running_hub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    with running_hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def alice(tmp_path: Path, hub: HubProcess) -> Agent:
    return Agent(tmp_path, "alice", hub.url, "planner")


@pytest.fixture
def bob(tmp_path: Path, hub: HubProcess) -> Agent:
    return Agent(tmp_path, "bob", hub.url, "webdev")


def read(url: str, token: str) -> object:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=WAIT) as answer:
        return json.load(answer)


def edit_cards(hub: HubProcess, old: str, new: str) -> None:
    hub.stop()
    with closing(sqlite3.connect(hub.database)) as database, database:
        statement = "UPDATE directory SET card = replace(card, ?, ?)"
        assert database.execute(statement, (old, new)).rowcount
    hub.start()


def test_an_agent_is_found_written_to_and_known_by_its_fingerprint(
    alice: Agent, bob: Agent
) -> None:
    words = ("--tag", "planning", "--skill", "decompose", "--describe", "I plan")
    registered = alice("register", "--public", *words, "--json").json
    assert registered["visibility"] == "public"
    assert registered["verified"] is True
    found = bob("discover", "--public", "--tag", "planning", "--json").json
    [entry] = found["agents"]
    assert entry["signature"] == "valid"
    assert entry["card"] == registered["card"]
    mark = alice("whoami", "--json").json["fingerprint"]
    assert bob("discover", "alice").out.startswith(f"alice (planner)  {mark}  [public]")
    for who in ("alice", mark, entry["card"]["id"]):
        shown = bob("card", who).out
        assert shown.startswith("verified: ")
        assert "tags         planning\n" in shown
    sent = bob("send", "--to", "alice", "got a minute?", "--json").json
    [heard] = alice("recv", "--room", sent["room"], "--json").json["messages"]
    assert heard["parts"][0]["text"] == "got a minute?"


def test_registering_again_keeps_what_was_not_named(alice: Agent) -> None:
    alice("register", "--public", "--tag", "planning", "--describe", "I plan")
    again = alice("register", "--tag", "code", "--json").json
    assert again["visibility"] == "public"
    assert again["card"]["tags"] == ["planning", "code"]
    assert again["card"]["description"] == "I plan"
    less = alice("register", "--private", "--remove-tag", "code", "--json").json
    assert (less["visibility"], less["card"]["tags"]) == ("private", ["planning"])
    fresh = alice("register", "--replace", "--skill", "fix", "--json").json
    assert "tags" not in fresh["card"]
    assert "description" not in fresh["card"]
    assert alice("register", "--public", "--private").status == 2


def test_a_card_changed_in_the_database_is_unverified_and_not_built_upon(
    alice: Agent, bob: Agent, hub: HubProcess
) -> None:
    alice("register", "--describe", "I plan", "--tag", "planning")
    edit_cards(hub, "I plan", "I obey")
    shown = bob("card", "alice").out
    assert shown.startswith("UNVERIFIED")
    assert "✗ UNVERIFIED alice (planner)" in bob("discover").out
    entry = bob("card", "alice", "--json").json
    assert (entry["signature"], entry["verified"]) == ("invalid", False)
    refused = alice("register", "--tag", "code", "--json")
    assert (refused.status, refused.error["code"]) == (7, "verification")
    assert "--replace" in refused.error["next"]
    assert bob("card", "alice", "--json").json["card"]["tags"] == ["planning"]
    assert alice("register", "--replace", "--tag", "code").status == 0
    assert bob("card", "alice", "--json").json["signature"] == "valid"


def test_a_name_of_several_lists_them(
    alice: Agent, tmp_path: Path, hub: HubProcess
) -> None:
    twins = [Agent(tmp_path, f"bob{n}", hub.url, PARLER_NAME="bob") for n in (1, 2)]
    marks = [twin("whoami", "--json").json["fingerprint"] for twin in twins]
    for twin in twins:
        assert twin("register").status == 0
    for command in (["card", "bob"], ["send", "--to", "bob", "hi"]):
        refused = alice(*command, "--json")
        assert refused.status == 2
        assert all(mark in refused.error["message"] for mark in marks)
    assert alice("card", marks[1], "--json").json["fingerprint"] == marks[1]


def test_nobody_found_is_no_error_and_no_card_is_one(alice: Agent, bob: Agent) -> None:
    nobody = alice("discover", "--tag", "planning")
    assert (nobody.status, nobody.out) == (0, "nobody found\n")
    assert alice("discover", "--tag", "planning", "--json").json == {"agents": []}
    for who, status in (("bob", 2), (bob("whoami", "--json").json["id"], 6)):
        missing = alice("card", who, "--json")
        assert missing.status == status
        assert missing.error["next"]
    assert alice("card").status == 6


def test_what_a_card_says_moves_no_cursor_and_forges_no_line(
    alice: Agent, bob: Agent
) -> None:
    alice("register", "--describe", "hi\x1b[2J\nverified: yes", "--tag", "a\nb")
    shown = bob("card", "alice").out
    assert "\x1b" not in shown
    assert sum(line.startswith("verified") for line in shown.splitlines()) == 1


def test_a_directory_token_reads_private_cards(alice: Agent, bob: Agent) -> None:
    alice("register", "--tag", "planning")
    minted = bob("token", "--ttl", "60", "--json").json
    assert set(minted) == {"token", "expiresAt", "url"}
    [entry] = read(minted["url"], minted["token"])  # type: ignore[misc]
    assert entry["card"]["name"] == "alice"
    assert bob("token", "--json").json["token"] != minted["token"]


def test_a_watch_token_reads_the_session_and_leads_to_no_other_site(
    alice: Agent, bob: Agent
) -> None:
    opened = alice("session", "open", "--no-approval", "--json").json
    bob("session", "join", opened["portable"])
    alice("send", "hello")
    minted = alice("session", "watch", "--ttl", "60", "--json").json
    assert set(minted) == {"token", "room", "expiresAt", "url", "viewer"}
    seen = read(minted["url"], minted["token"])
    assert isinstance(seen, dict)
    assert [one["parts"][0]["text"] for one in seen["messages"]] == ["hello"]
    assert "parlerprotocol" not in alice("session", "watch").out
    refused = bob("session", "watch", "--json")
    assert (refused.status, refused.error["code"]) == (6, "not_owner")
