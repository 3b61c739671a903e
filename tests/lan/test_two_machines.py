"""A hub for the team: one machine starts it, another finds it and joins."""

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests._support.network import Machine, two_machines

pytestmark = pytest.mark.lan

START = """
import json
from pathlib import Path
from parler.local_hub import lan
team = lan.start_team_hub(Path({home!r}), name="ann's hub", rotate_secret={rotate})
invite = lan.team_invite(team)
print(json.dumps({{"text": invite.text, "line": invite.command, "mark":
    team.fingerprint, "url": team.url, "shown": repr(team), "pid": team.hub.pid}}))
"""
FIND = """
import asyncio, json
from pathlib import Path
from parler.local_hub import lan
found = asyncio.run(lan.find_team_hubs(Path({home!r})))
print(json.dumps([[h.name, h.url, h.fingerprint, h.asks_secret, h.is_ours]
    for h in found]))
"""
JOIN = """
from pathlib import Path
from parler.local_hub import lan
invite = lan.parse_team_invite({text!r})
lan.remember_secret(Path({home!r}), invite.url, invite.secret)
print(invite.url)
"""


@pytest.fixture(scope="module")
def machines(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Machine, Machine]]:
    with two_machines(tmp_path_factory.mktemp("lan")) as (ann, bob):
        yield ann, bob
        ann("hub", "stop", "--force")


@pytest.fixture(scope="module")
def team(machines: tuple[Machine, Machine]) -> dict[str, str]:
    return started(machines[0])


def started(ann: Machine, *, rotate: bool = False) -> dict[str, str]:
    done = ann.python(START.format(home=str(ann.home), rotate=rotate))
    assert done.status == 0, done.err
    said: dict[str, str] = json.loads(done.out)
    return said


def joined(machine: Machine, text: str) -> str:
    done = machine.python(JOIN.format(text=text, home=str(machine.home)))
    assert done.status == 0, done.err
    return done.out.strip()


def test_a_teammate_joins_with_what_was_handed_over(
    machines: tuple[Machine, Machine], team: dict[str, str]
) -> None:
    _, bob = machines
    url = joined(bob, f"here you are:\n  {team['text']}\n")
    done = bob("session", "open", "--json", PARLER_HUB=url)
    assert done.status == 0, done.err
    assert bob("doctor", PARLER_HUB=url).status == 0


def test_a_teammate_joins_with_the_line_that_connect_prints(
    machines: tuple[Machine, Machine], team: dict[str, str]
) -> None:
    ann, bob = machines
    status, screen = ann.typed("connect", "--team", answers={})
    assert status == 0, screen
    line = re.search(r"parler (connect --join \S+)", screen)
    secret = re.search(r"secret:\s+(\S+)", screen)
    assert line, screen
    assert secret, screen
    mate = Machine(bob.holder, bob.address, bob.folder / "mate")
    mate.folder.mkdir()
    status, screen = mate.typed(*line[1].split(), answers={"Join secret": secret[1]})
    assert status == 0, screen
    assert secret[1] not in screen
    assert mate("rooms", PARLER_HUB="ws://192.168.77.1:7070").status == 0


def test_a_second_machine_finds_the_hub_and_is_asked_for_the_secret(
    machines: tuple[Machine, Machine], team: dict[str, str]
) -> None:
    _, bob = machines
    finder = Machine(bob.holder, bob.address, bob.folder / "finder")
    finder.folder.mkdir()
    secret = team["text"].partition("#")[2]
    status, screen = finder.typed("connect", "--team", answers={"Join secret": secret})
    assert status == 0, screen
    assert team["mark"] in screen
    assert finder("rooms", PARLER_HUB="ws://192.168.77.1:7070").status == 0


def test_a_stranger_without_the_secret_stays_outside(
    machines: tuple[Machine, Machine], team: dict[str, str]
) -> None:
    _, bob = machines
    stranger = Machine(bob.holder, bob.address, bob.folder / "stranger")
    stranger.folder.mkdir()
    refused = stranger("rooms", "--hub", "ws://192.168.77.1:7070")
    assert refused.status == 6
    wrong = stranger(
        "rooms", PARLER_HUB="ws://192.168.77.1:7070", PARLER_JOIN_SECRET="x"
    )
    assert wrong.status == 6


def test_the_hub_is_found_on_the_other_machine(
    machines: tuple[Machine, Machine], team: dict[str, str]
) -> None:
    ann, bob = machines
    found = bob.python(FIND.format(home=str(bob.home))).json
    assert [hub[1:] for hub in found] == [
        ["ws://192.168.77.1:7070", team["mark"], True, False]
    ]
    assert found[0][0].startswith("ann's hub on ")
    assert [hub[4] for hub in ann.python(FIND.format(home=str(ann.home))).json] == [
        True
    ]


def test_the_secret_is_for_its_owner_alone_and_nowhere_else(
    machines: tuple[Machine, Machine], team: dict[str, str]
) -> None:
    ann, _ = machines
    secret_file = ann.home / "hub" / "join-secret"
    secret = secret_file.read_text(encoding="utf-8").strip()
    assert stat.S_IMODE(secret_file.stat().st_mode) == 0o600
    assert secret in team["text"]
    assert secret not in team["line"] + team["shown"]
    process = Path(f"/proc/{team['pid']}")
    assert secret.encode() not in (process / "cmdline").read_bytes()
    assert secret.encode() not in (process / "environ").read_bytes()
    assert secret not in ann("hub", "status", "--json").out
    assert secret not in ann("hub", "logs").out


def test_own_agents_use_the_loopback_and_hand_out_the_address_for_others(
    machines: tuple[Machine, Machine], team: dict[str, str]
) -> None:
    ann, bob = machines
    opened = ann("session", "open", "--no-approval", "--json", PARLER_HUB=team["url"])
    portable = opened.json["portable"]
    assert portable.endswith("@ws://192.168.77.1:7070")
    joined(bob, team["text"])
    assert bob("session", "join", portable, "--json").status == 0


def test_starting_it_again_keeps_hub_and_secret(
    machines: tuple[Machine, Machine], team: dict[str, str]
) -> None:
    again = started(machines[0])
    assert (again["pid"], again["text"]) == (team["pid"], team["text"])


def test_a_new_secret_shuts_out_who_has_the_old_one(
    machines: tuple[Machine, Machine], team: dict[str, str]
) -> None:
    ann, bob = machines
    url = joined(bob, team["text"])
    fresh = started(ann, rotate=True)
    assert fresh["text"] != team["text"]
    assert fresh["mark"] == team["mark"]
    assert bob("rooms", PARLER_HUB=url).status == 6
    assert ann("rooms", PARLER_HUB=fresh["url"]).status == 0
    joined(bob, fresh["text"])
    assert bob("rooms", PARLER_HUB=url).status == 0


def test_whoever_comes_from_beyond_private_networks_is_turned_away(
    machines: tuple[Machine, Machine], team: dict[str, str]
) -> None:
    ann, bob = machines
    for machine, address in ((ann, "11.22.33.1"), (bob, "11.22.33.2")):
        done = machine.run(["ip", "addr", "add", f"{address}/24", "dev", "lan0"])
        assert done.status == 0, done.err
    outside = "ws://11.22.33.1:7070"
    refused = bob("rooms", "--hub", outside, "--insecure")
    assert refused.status == 4
    assert "403" in refused.err
    assert "203.0.113" not in ann("hub", "status", "--json").out
