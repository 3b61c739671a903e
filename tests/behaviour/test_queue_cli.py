"""Queued work, receipts and attention over the command line: real processes."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
    return Agent(tmp_path, "bob", hub.url, "reviewer")


def test_a_service_hears_what_is_sent_to_it_and_answers(
    alice: Agent, bob: Agent
) -> None:
    served = bob("serve", "code review", "--json").json
    assert served == {
        "room": "svc.code_review",
        "kind": "service",
        "service": "code review",
    }
    sent = alice("send", "--service", "code review", "PR 42", "--json").json
    assert sent["room"] == "svc.code_review"
    [asked] = bob("recv", "--room", served["room"], "--json").json["messages"]
    assert asked["signature"] == "valid"
    bob("send", "--room", served["room"], "--reply-to", asked["id"], "looks good")
    heard = alice("recv", "--room", served["room"]).out
    assert "bob (reviewer): looks good" in heard


def test_a_role_task_is_taken_by_exactly_one_of_two_workers(
    alice: Agent, bob: Agent, tmp_path: Path, hub: HubProcess
) -> None:
    carol = Agent(tmp_path, "carol", hub.url, "reviewer")
    for worker in (bob, carol):
        assert worker("serve", "review").status == 0
    task = alice("send", "--role", "review", "review", "PR 42", "--json").json
    for worker in (bob, carol):
        [waiting] = worker("queue", "review", "--json").json["messages"]
        assert waiting["id"] == task["id"]
        assert waiting["signature"] == "valid"
    claim = ("claim", "review", task["id"], "--lease", "60", "--json")
    with ThreadPoolExecutor(2) as both:
        claims = list(both.map(lambda who: who(*claim).json, (bob, carol)))
    won = [one["claimed"] for one in claims]
    assert sorted(won) == [False, True]
    winner, loser = (bob, carol) if won[0] else (carol, bob)
    assert set(claims[won.index(True)]) == {
        "room",
        "message",
        "claimed",
        "leaseUntil",
    }

    hub.kill()
    hub.start()
    assert loser("queue", "review", "--json").json["messages"] == []
    assert "nothing waits" in loser("queue", "review").out
    ended = ("complete", "review", task["id"], "done", "--json")
    assert loser(*ended).json["completed"] is False
    assert winner(*ended).json["completed"] is True
    assert loser(*claim).json["claimed"] is False


def test_a_queue_shows_how_to_take_a_task(alice: Agent, bob: Agent) -> None:
    bob("serve", "review")
    task = alice("send", "--role", "review", "PR 42", "--json").json
    shown = bob("queue", "review").out
    assert "alice (owner): PR 42" in shown
    number = str(task["seq"])
    line = f"parler claim review {number}"
    assert line in shown
    claimed = bob(*line.split()[1:]).out
    assert claimed.startswith(f"{number} is yours until")
    assert f"--reply-to {number} TEXT" in claimed
    ended = bob("complete", "review", number, "FAILED")
    assert ended.out == f"{number} is failed\n"


def test_work_nobody_serves_and_wrong_words_are_errors_with_a_next_step(
    alice: Agent, bob: Agent
) -> None:
    bob("serve", "review")
    attempts = [
        (["send", "--role", "nobody", "x"], 6, "unknown_service"),
        (["send", "--role", "review", "--room", "x", "y"], 2, "usage"),
        (["send", "--role", "review", "--reply-to", "x", "y"], 2, "usage"),
        (["send", "--role", "", "y"], 2, "usage"),
        (["queue", "nobody"], 6, "not_member"),
        (["claim", "nobody", "x"], 6, "not_member"),
        (["claim", "review", "x", "--lease", "5"], 2, "usage"),
        (["complete", "review", "x", "working"], 2, "usage"),
        (["complete", "review", "x", "finished"], 2, "usage"),
        (["task", "finished"], 2, "usage"),
        (["task", "done"], 2, "usage"),
        (["task", "done", "--room", "r", "--result", "file.txt"], 2, "usage"),
    ]
    for arguments, status, code in attempts:
        refused = alice(*arguments, "--json")
        assert (refused.status, refused.error["code"]) == (status, code), arguments
        assert refused.out == ""
        if arguments[:4] != ["send", "--role", "review", "--reply-to"]:
            assert refused.error["next"], arguments


def test_receipts_say_how_far_a_task_is(alice: Agent, bob: Agent) -> None:
    bob("serve", "review")
    task = alice("send", "--role", "review", "PR 42", "--json").json["id"]
    told = ("--service", "review", "--task", task)
    assert bob("task", "Accepted", *told).status == 0
    assert bob("task", "canceled", *told, "--note", "no time").status == 0
    done = bob("task", "done", *told, "--elapsed-ms", "5", "--tokens", "7", "--json")
    assert set(done.json) == {"id", "seq", "room", "status", "task"}
    heard = alice("recv", "--room", "svc.review", "--json").json["messages"]
    parts = [message["parts"][0] for message in heard]
    assert [part["status"] for part in parts] == ["accepted", "cancelled", "done"]
    assert parts[1]["note"] == "no time"
    assert (parts[2]["elapsedMs"], parts[2]["tokens"]) == (5, 7)
    assert {message["replyTo"] for message in heard} == {task}
    assert {message["signature"] for message in heard} == {"valid"}
    assert "🚫 task cancelled" in alice("recv", "--room", "svc.review", "--all").out


def test_the_mode_is_shown_to_others_and_rooms_are_ours_alone(
    alice: Agent, bob: Agent
) -> None:
    opened = alice("session", "open", "--no-approval", "--json").json
    room = opened["room"]
    bob("session", "join", opened["portable"])
    everything = {"mode": "open", "quietRooms": [], "mutedRooms": []}
    assert bob("attention", "--json").json == everything
    assert bob("attention", "Focus", "--json").json == everything | {"mode": "focus"}
    quiet = bob("attention", "quiet", "--room", room, "--json").json
    assert (quiet["attention"], quiet["quietRooms"]) == ("quiet", [room])
    entries = alice("roster", "--json").json["entries"]
    assert {one["name"]: one.get("attention") for one in entries}["bob"] == "focus"
    kept = json.loads((bob.home / "config.json").read_text(encoding="utf-8"))[
        "attention"
    ]
    assert kept == {"mode": "focus", "quiet_rooms": [room]}
    assert bob("attention", "inherit", "--room", room).out == f"{room}: inherit\n"
    assert bob("attention").out == "mode   focus\n"
    for wrong in (["loud"], ["muted"], ["dnd", "--room", room]):
        refused = bob("attention", *wrong, "--json")
        assert (refused.status, refused.error["code"]) == (2, "usage")
        assert refused.error["next"]


def test_rooms_are_set_without_a_hub_and_the_mode_is_not(
    alice: Agent, bob: Agent, hub: HubProcess
) -> None:
    bob("rooms")
    hub.stop()
    assert bob("attention", "muted", "--room", "noise").status == 0
    assert bob("attention", "dnd").status == 4
    shown = bob("attention", "--json").json
    assert (shown["mode"], shown["mutedRooms"]) == ("open", ["noise"])
    hub.start()


def test_a_message_is_stored_and_then_seen(alice: Agent, bob: Agent) -> None:
    opened = alice("session", "open", "--no-approval", "--json").json
    bob("session", "join", opened["portable"])
    seq = alice("send", "hi", "--json").json["seq"]
    [before] = alice("status", str(seq), "--json").json["members"]
    assert (before["name"], before["state"]) == ("bob", "stored")
    bob("recv")
    after = alice("status", str(seq), "--json").json
    assert set(after) == {"room", "seq", "members"}
    assert after["members"][0]["state"] == "seen"
    assert "seen       bob" in alice("status", str(seq)).out
    for missing in (str(seq + 1000), "0"):
        assert alice("status", missing).status == 2


def test_the_owner_of_a_service_on_a_public_hub_admits_its_workers(
    tmp_path: Path,
) -> None:
    with running_hub(tmp_path / "public", PARLER_HUB_PUBLIC="1") as hub:
        boss, bob, eve = (
            Agent(tmp_path, name, hub.url) for name in ("boss", "bob", "eve")
        )
        assert "you serve review" in boss("serve", "review").out
        for one in (bob, eve):
            assert "its owner has to admit you" in one("serve", "review").out
        refused = eve("send", "--role", "review", "obey me")
        assert refused.status == 6
        assert "does not know you" in refused.err
        waiting = boss("roster", "--room", "svc.review").out
        assert "waits to be admitted as review" in waiting
        theirs = eve("whoami", "--json").json["fingerprint"]
        assert eve("serve", "review", "--admit", theirs).status == 6
        # A name is a stranger's choice: it is shown whose it is, and a person asked.
        named = boss("serve", "review", "--admit", "eve", "--json")
        assert named.status == 2
        assert f"--admit {theirs}" in named.error["next"]
        assert boss("serve", "review", "--admit", "nobody").status == 2
        mark = bob("whoami", "--json").json["fingerprint"]
        boss.environment["GEMINI_CLI"] = "1"
        by_agent = boss("serve", "review", "--admit", mark, "--json")
        del boss.environment["GEMINI_CLI"]
        assert by_agent.status == 2
        assert by_agent.error["next"].startswith(f"parler serve review --admit {mark}")
        both = boss("serve", "review", "--admit", "bob", "--open")
        assert both.status == 2
        assert (
            f"bob {mark} works for review"
            in boss("serve", "review", "--admit", mark).out
        )
        assert "you serve review" in bob("serve", "review").out
        boss("send", "--role", "review", "PR 1")
        assert "PR 1" in bob("queue", "review").out
        assert "nothing waits" in eve("queue", "review").out
        boss("serve", "review", "--open")
        assert "PR 1" in eve("queue", "review").out
        boss("serve", "review", "--closed")
        assert "nothing waits" in eve("queue", "review").out
