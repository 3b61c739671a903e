"""Which identities a machine home holds."""

import json
from pathlib import Path

from parler.identity.homes import PLACE_FILE
from parler.identity.identity import mint_identity
from parler.identity.own_agents import own_agents, own_ids
from parler.machine.files import write_private

HUB = "ws://127.0.0.1:1"
SEAT_1 = "agents/claude-code/ws/0123456789abcdef"


def test_the_person_comes_first_and_every_home_below_is_found(tmp_path: Path) -> None:
    below = [
        "agents/codex",
        "ws/0123456789abcdef",
        "answerers/shop",
        SEAT_1,
        f"{SEAT_1}/seats/2",
        "agents/codex/answerers/shop",
    ]
    for home in ["", *below, "elsewhere/ws/1", "agents/codex/ws/1/deeper/still"]:
        mint_identity(tmp_path / home, hub_url=HUB, name=home or "ann")
    (tmp_path / "agents/gemini/ws/0").mkdir(parents=True)
    place = {"app": "claude-code", "folder": "/src/shop", "seat": 2, "later": True}
    data = json.dumps(place).encode()
    write_private(tmp_path / SEAT_1 / "seats/2" / PLACE_FILE, data)

    person, *agents = own_agents(tmp_path)
    assert (person.is_person, person.home) == (True, tmp_path)
    assert {str(one.home.relative_to(tmp_path)) for one in agents} == set(below)
    assert not any(one.is_person for one in agents)
    places = {
        one.identity.name: (one.place.app, one.place.folder, one.place.seat)
        for one in agents
        if one.identity
    }
    assert places[f"{SEAT_1}/seats/2"] == ("claude-code", "/src/shop", 2)
    assert places[SEAT_1] == ("claude-code", None, 1)
    assert places["ws/0123456789abcdef"] == (None, None, 1)


def test_a_damaged_home_hides_no_other(tmp_path: Path) -> None:
    good = mint_identity(tmp_path / "agents/codex/ws/a", hub_url=HUB)
    bad = tmp_path / "agents/codex/ws/b"
    bad.mkdir()
    (bad / "config.json").write_text("{", encoding="utf-8")
    (good.home / PLACE_FILE).write_text("[]", encoding="utf-8")
    assert [one.identity is None for one in own_agents(tmp_path)] == [False, True]
    assert own_agents(tmp_path)[0].place.app == "codex"
    assert own_ids(tmp_path) == {good.agent_id}
    assert own_agents(tmp_path / "nothing") == []
