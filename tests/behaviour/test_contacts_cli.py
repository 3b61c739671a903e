"""Knowing the people behind agents, over the command line, with real processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests._support.processes import Agent, HubProcess, running_hub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    with running_hub(tmp_path / "hub") as hub:
        yield hub


class Machine:
    """Somebody's terminal, and the shell of an agent of hers."""

    def __init__(self, folder: Path, name: str, hub: str) -> None:
        self.terminal = Agent(folder, name, hub)
        self.agent = Agent(self.terminal.folder, "stagent", hub, CODEX_THREAD_ID="1")
        for variables in (self.terminal.environment, self.agent.environment):
            del variables["PARLER_NAME"]  # the person is called as git says
            variables["HOME"] = str(self.terminal.folder)
        (self.terminal.home / "agents" / "codex").mkdir(parents=True)
        (self.terminal.folder / ".gitconfig").write_text(
            f"[user]\nname = {name}\n", encoding="utf-8"
        )


@pytest.fixture
def anna(tmp_path: Path, hub: HubProcess) -> Machine:
    return Machine(tmp_path, "Anna", hub.url)


@pytest.fixture
def bob(tmp_path: Path, hub: HubProcess) -> Machine:
    return Machine(tmp_path, "Bob", hub.url)


def test_an_agent_of_a_person_once_compared_walks_in(
    anna: Machine, bob: Machine
) -> None:
    key = bob.agent("session", "open", "--json").json["portable"]
    assert "wait" in anna.agent("session", "join", key).out
    mark = anna.terminal("whoami", "--json").json["fingerprint"]
    [waiting] = bob.agent("session", "requests", "--json").json["requests"]
    assert waiting["affiliation"] == {
        "app": "codex",
        "folder": "stagent",
        "person": waiting["affiliation"]["person"]
        | {"name": "Anna", "fingerprint": mark, "relation": "unknown"},
    }
    shown = bob.agent("session", "requests").out
    assert f"Codex in stagent, says it is Anna's ({mark})" in shown
    assert f"parler trust {mark}" in shown

    refused = bob.agent("trust", mark, "--as", "anna")
    assert refused.status == 2
    assert f"parler trust {mark} --as anna" in refused.err
    assert bob.agent("contacts", "--json").json == {"contacts": []}
    assert "is a contact now" in bob.terminal("trust", mark, "--as", "anna").out
    assert bob.agent("untrust", "anna").status == 2
    [known] = bob.agent("contacts", "--json").json["contacts"]
    assert [known["name"], known["ids"][0]["fingerprint"]] == ["anna", mark]

    done = bob.terminal("approve", waiting["fingerprint"], "--yes")
    assert "anna's Codex in stagent ✓" in done.out
    opened = bob.agent("session", "open", "--for", "anna", "--json").json
    assert opened["welcome"] == ["anna"]
    with bob.agent.running("recv", "--watch") as door:
        door.until("watching", door.stderr)
        joined = anna.agent("session", "join", opened["portable"], "--wait", "20")
        assert "joined" in joined.out
        assert "anna's Codex in stagent ✓" in door.until("was let in", door.stderr)
    assert "anna's Codex in stagent ✓" in bob.agent("roster").out
    later = bob.agent("session", "open", "--for", "anna", "--json").json
    assert "waiting" in anna.agent("session", "join", later["portable"]).out
    told = bob.terminal().out.splitlines()[0]
    assert told.startswith("let in at ")
    assert "anna's Codex in stagent ✓" in told
    assert "no contact any more" in bob.terminal("untrust", "anna").out
    assert "says it is Anna's" in bob.agent("roster").out


def test_approving_an_unknown_persons_agent_says_how_to_know_the_person(
    anna: Machine, bob: Machine
) -> None:
    key = bob.agent("session", "open", "--json").json["portable"]
    anna.agent("session", "join", key)
    agent = anna.agent("whoami", "--json").json
    done = bob.terminal("approve", agent["fingerprint"], "--yes")
    mark = agent["person"]["fingerprint"]
    assert f"to know Anna from now on: parler trust {mark}" in done.err


def test_a_name_alone_is_trusted_by_nobody_who_cannot_be_asked(
    anna: Machine, bob: Machine
) -> None:
    name = anna.agent("register", "--json").json["card"]["name"]
    mark = anna.terminal("whoami", "--json").json["fingerprint"]
    refused = bob.terminal("trust", name)
    assert refused.status == 2
    assert f"parler trust {mark}" in refused.err
    assert bob.terminal("contacts", "--json").json == {"contacts": []}
