"""A2A cards: valid for A2A 0.3.0, and for the types of its official SDK."""

import importlib
import json
from typing import Any

import msgspec
import pytest

from hub.http.a2a import agent_card, hub_card
from hub.store.directory import Size
from parler.identity.signing import Keypair
from parler.wire.records import (
    AgentCard,
    DirectoryEntry,
    Skill,
    Visibility,
)

BASE = "https://hub.example"
PEER = Keypair.generate().agent_id


def entry(**fields: Any) -> DirectoryEntry:
    return DirectoryEntry(
        card=AgentCard.of(PEER, "ada", **fields),
        visibility=Visibility.PUBLIC,
        status="idle",
        hub="The hub",
        verified=True,
        sig="c2ln",
        first_seen=1,
        last_seen=2,
    )


CARDS: dict[str, dict[str, Any]] = {
    "hub": hub_card("The hub", "public", base=BASE, size=Size(3, 2)),
    "bare": agent_card(entry(), base=BASE),
    "with a role": agent_card(entry(role="reviewer"), base=BASE),
    "with tags": agent_card(entry(tags=["rust"]), base=BASE),
    "with skills": agent_card(
        entry(
            tags=["rust", "web"],
            description="Reviews code",
            skills=[
                Skill(id="a", name="Alpha"),
                Skill(id="b", name="Beta", description="B"),
            ],
        ),
        base=BASE,
    ),
}


class _Capabilities(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    streaming: bool
    push_notifications: bool
    state_transition_history: bool


class _Provider(msgspec.Struct, forbid_unknown_fields=True):
    organization: str
    url: str


class _Skill(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    name: str
    description: str
    tags: list[str]


class _Card(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Exactly what protocol 11 lists."""

    protocol_version: str
    name: str
    description: str
    url: str
    preferred_transport: str
    version: str
    provider: _Provider
    capabilities: _Capabilities
    default_input_modes: list[str]
    default_output_modes: list[str]
    skills: list[_Skill]
    parler: dict[str, Any]


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS.keys())
def test_card_has_exactly_the_fields_of_the_contract(card: dict[str, Any]) -> None:
    read = msgspec.convert(msgspec.to_builtins(card), _Card)
    assert read.protocol_version == "0.3.0"
    assert read.preferred_transport == "JSONRPC"
    assert all((read.name, read.description, read.version, read.url))


@pytest.mark.a2a
@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS.keys())
def test_card_is_valid_for_the_types_of_the_official_sdk(card: dict[str, Any]) -> None:
    types = importlib.import_module("a2a.compat.v0_3.types")
    read = types.AgentCard.model_validate_json(msgspec.json.encode(card))
    assert read.url == card["url"]
    assert [skill.id for skill in read.skills] == [
        skill["id"] for skill in card["skills"]
    ]


@pytest.mark.a2a
@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS.keys())
def test_card_is_read_by_the_client_of_the_official_sdk(card: dict[str, Any]) -> None:
    resolver = importlib.import_module("a2a.client.card_resolver")
    read = resolver.parse_agent_card(json.loads(msgspec.json.encode(card)))
    assert read.supported_interfaces[0].url == card["url"]
    assert read.supported_interfaces[0].protocol_version == "0.3.0"


def test_tags_of_the_card_go_onto_each_skill() -> None:
    skills = CARDS["with skills"]["skills"]
    assert [skill["tags"] for skill in skills] == [["rust", "web"]] * 2
    assert [skill["description"] for skill in skills] == ["Alpha", "B"]


def test_agent_without_skills_has_a_general_one_if_anything_is_known() -> None:
    assert CARDS["bare"]["skills"] == []
    assert [skill["id"] for skill in CARDS["with a role"]["skills"]] == ["general"]
    assert CARDS["with tags"]["skills"][0]["tags"] == ["rust"]


def test_agent_card_carries_what_verifies_the_agent() -> None:
    assert CARDS["bare"]["parler"] == {
        "id": PEER,
        "hub": "The hub",
        "visibility": "public",
        "verified": True,
        "status": "idle",
        "signature": "c2ln",
        "canonicalization": "parler/canonical-card-v1",
    }
    assert CARDS["bare"]["url"] == f"{BASE}/a2a/agents/{PEER}"
    assert CARDS["bare"]["version"] == "0.2"


def test_hub_card_points_to_its_directory() -> None:
    assert CARDS["hub"]["url"] == f"{BASE}/a2a"
    assert CARDS["hub"]["version"] == "0.2"
    assert CARDS["hub"]["parler"] == {
        "mode": "public",
        "agents": 3,
        "publicAgents": 2,
        "directory": f"{BASE}/a2a/directory",
    }
