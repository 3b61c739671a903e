"""The person of a machine, and what its word for an agent is worth."""

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from parler.errors import ConfigError
from parler.identity.homes import find_home
from parler.identity.identity import load_identity, mint_identity
from parler.identity.person import (
    VOUCH,
    ensure_person,
    find_person,
    verified_vouch,
    vouch,
)
from parler.identity.signing import Keypair
from parler.wire.canonical import card_bytes, vouch_bytes
from parler.wire.records import AgentCard

HUB = "ws://127.0.0.1:7070"
AGENT = Keypair(b"\x01" * 32)
OTHER = Keypair(b"\x02" * 32)


def git_says(name: str) -> None:
    subprocess.run(["git", "config", "--global", "user.name", name], check=True)


def signed(keypair: Keypair, meta: Any) -> tuple[AgentCard, str]:
    card = AgentCard.of(keypair.agent_id, "claude", meta={VOUCH: meta})
    return card, keypair.sign(card_bytes(card))


def test_the_person_is_made_once_and_called_as_git_calls_the_user(
    tmp_path: Path,
) -> None:
    git_says("Anna Müller")
    assert find_person(tmp_path) is None
    anna = ensure_person(tmp_path, hub_url=HUB)
    assert anna.name == "Anna Müller"
    git_says("Somebody Else")
    assert ensure_person(tmp_path, hub_url=HUB).agent_id == anna.agent_id
    found = find_person(tmp_path)
    assert found is not None
    assert found.agent_id == anna.agent_id == load_identity(tmp_path).agent_id


@pytest.mark.parametrize("name", ["", "x" * 300, "red\x1b[31m"])
def test_a_name_that_no_hub_takes_gives_way_to_the_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    git_says(name)
    monkeypatch.setenv("LOGNAME", "anna")
    assert ensure_person(tmp_path, hub_url=HUB).name == "anna"


def test_a_repository_does_not_name_the_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, "config", "user.name", "root"], check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOGNAME", "anna")
    assert ensure_person(tmp_path / "home", hub_url=HUB).name == "anna"


def test_an_identity_of_long_ago_is_the_person_of_a_terminal_and_of_the_agents(
    tmp_path: Path,
) -> None:
    old = mint_identity(tmp_path / ".parler-codex", hub_url=HUB, name="old")
    anna = ensure_person(tmp_path / ".parler", hub_url=HUB)
    assert anna.agent_id == old.agent_id
    assert find_home({}, tmp_path, tmp_path, command="rooms").path == anna.home


def test_a_vouch_is_believed_when_person_and_agent_have_signed(tmp_path: Path) -> None:
    anna = mint_identity(tmp_path, hub_url=HUB, name="Änna")
    word = vouch(anna, AGENT.agent_id, now=5)
    assert (
        vouch_bytes(agent=AGENT.agent_id, person=anna.agent_id, name="Änna", since=5)
        == (
            f'parler-person:v1:{{"agent":"{AGENT.agent_id}","id":"{anna.agent_id}",'
            '"name":"Änna","since":5}'
        ).encode()
    )
    card, sig = signed(AGENT, msgspec.to_builtins(word))
    assert verified_vouch(card, sig, AGENT.agent_id) == word


def test_a_vouch_is_nothing_beyond_what_both_have_signed(tmp_path: Path) -> None:
    anna = mint_identity(tmp_path, hub_url=HUB, name="anna")
    good = msgspec.to_builtins(vouch(anna, AGENT.agent_id, now=5))
    card, sig = signed(AGENT, good)
    # On a card that its agent has not signed, or not like this, or that is another's.
    assert verified_vouch(card, None, AGENT.agent_id) is None
    assert verified_vouch(card, OTHER.sign(card_bytes(card)), AGENT.agent_id) is None
    renamed = msgspec.structs.replace(card, name="admin")
    assert verified_vouch(renamed, sig, AGENT.agent_id) is None
    assert verified_vouch(card, sig, OTHER.agent_id) is None
    # Copied onto another agent's card.
    copied, its = signed(OTHER, good)
    assert verified_vouch(copied, its, OTHER.agent_id) is None
    # With something else than the person said.
    for change in (
        {"since": 6},
        {"since": 5.0},
        {"since": True},
        {"since": None},
        {"name": "Anna"},
        {"id": OTHER.agent_id},
        {"id": "UNOBODY"},
        {"sig": good["sig"][:-4] + "AAA="},
        {"sig": ""},
        {"name": 7},
    ):
        card, sig = signed(AGENT, good | change)
        assert verified_vouch(card, sig, AGENT.agent_id) is None, change
    for meta in (None, "anna", [], {}, [good]):
        card, sig = signed(AGENT, meta)
        assert verified_vouch(card, sig, AGENT.agent_id) is None, meta


def test_nobody_vouches_for_himself(tmp_path: Path) -> None:
    anna = mint_identity(tmp_path, hub_url=HUB, name="anna")
    me = anna.agent_id
    with pytest.raises(ConfigError):
        vouch(anna, me, now=5)
    sig = anna.keypair.sign(vouch_bytes(agent=me, person=me, name="anna", since=5))
    card, its = signed(anna.keypair, {"id": me, "name": "anna", "since": 5, "sig": sig})
    assert verified_vouch(card, its, me) is None


@pytest.mark.parametrize(
    "name", ["anna\nroot", "\x1b[2Janna", " anna", "", "x" * 257, "an\u2028na"]
)
def test_a_name_that_is_none_makes_no_vouch(name: str) -> None:
    sig = OTHER.sign(
        vouch_bytes(agent=AGENT.agent_id, person=OTHER.agent_id, name=name, since=5)
    )
    meta = {"id": OTHER.agent_id, "name": name, "since": 5, "sig": sig}
    card, its = signed(AGENT, meta)
    assert verified_vouch(card, its, AGENT.agent_id) is None
