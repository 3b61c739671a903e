"""One machine home where the identity is of long ago and in a folder of its own."""

from pathlib import Path

import pytest

from parler.errors import ConfigError
from parler.identity.chosen_hub import choose, local_url, read_choice
from parler.identity.contacts import Contacts
from parler.identity.homes import find_home, is_person_home, machine_home
from parler.identity.identity import Identity, mint_identity
from parler.identity.join_secrets import FILE_NAME, JoinSecrets
from parler.identity.legacy_home import take_over
from parler.identity.own_agents import own_agents
from parler.identity.senders import Senders
from parler.identity.settings import Flags, process_settings
from parler.local_hub.record import hub_paths

HUB = "wss://hub.example"
TEAM = "wss://team.example"


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory with an identity of long ago."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PARLER_HOME", raising=False)
    mint_identity(tmp_path / ".parler-codex", hub_url=HUB, name="ann")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def somebody(folder: Path, name: str) -> Identity:
    return mint_identity(folder / "others" / name, hub_url=HUB)


def test_terminal_and_agents_have_one_machine_home(user: Path) -> None:
    machine, legacy = user / ".parler", user / ".parler-codex"
    terminal = find_home({}, user, user, command="rooms")
    assert terminal.path == legacy
    assert is_person_home(legacy)
    agents = [top / "agents/codex/ws/0" for top in (machine, legacy)]
    for home in agents:
        mint_identity(home, hub_url=HUB)
        assert machine_home(home) == machine
        assert not is_person_home(home)
    assert machine_home(terminal.base) == machine
    assert [one.home for one in own_agents(machine)] == [legacy, *agents]
    mint_identity(machine, hub_url=HUB)  # a newer one is the person
    assert machine_home(legacy) == legacy
    assert own_agents(machine)[0].home == machine


def test_what_the_terminal_decided_reaches_the_agents(user: Path) -> None:
    machine, legacy = user / ".parler", user / ".parler-codex"
    anna, bob, eve, dan = (somebody(user, one).agent_id for one in "abed")
    choose(legacy, TEAM, name="ours")
    Contacts(legacy).trust(anna, "Anna", now=5)
    Contacts(legacy).trust(bob, "Robert", now=6)
    Contacts(machine).trust(bob, "Bob", now=7)
    Senders(legacy).accept(eve)
    Senders(legacy).decline(dan)
    Senders(machine).accept(dan)
    old, new = (JoinSecrets(home / FILE_NAME) for home in (legacy, machine))
    old.remember(HUB, "of the hub")
    old.remember(TEAM, "older")
    new.remember(TEAM, "newer")
    (legacy / "asks" / "shop").mkdir(parents=True)
    (legacy / "asks" / "shop" / "log").write_text("asked", encoding="utf-8")

    got = process_settings(Flags())
    assert (got.home, got.hub) == (legacy, TEAM)
    assert read_choice(machine).named("ours")
    known = {one.name: (one.ids, one.since) for one in Contacts(machine).all()}
    assert known == {"Anna": ([anna], 5), "Bob": ([bob], 7)}
    assert set(Senders(machine).read().accepted) == {eve, dan}
    assert Senders(machine).read().declined == []
    assert (new.for_hub(HUB), new.for_hub(TEAM)) == ("of the hub", "newer")
    assert (machine / "asks" / "shop" / "log").exists()
    before = contents(user)
    assert process_settings(Flags()) == got
    assert contents(user) == before
    Contacts(machine).untrust("Anna")
    process_settings(Flags())
    assert Contacts(machine).find(anna) is None


def test_two_people_of_one_name_stay_two_contacts(user: Path) -> None:
    machine, legacy = user / ".parler", user / ".parler-codex"
    here, there, also, shared = (somebody(user, one).agent_id for one in "htas")
    Contacts(machine).trust(here, "Anna", now=1)
    Contacts(machine).trust(shared, "Bob", now=2)
    Contacts(legacy).trust(there, "anna", now=3)
    Contacts(legacy).trust(shared, "Robert", now=4)
    Contacts(legacy).trust(also, "Robert", now=5)
    take_over(machine)
    known = {one.name: one.ids for one in Contacts(machine).all()}
    assert known == {"Anna": [here], "anna 2": [there], "Bob": [shared, also]}


def test_an_interrupted_taking_over_goes_on(
    user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, legacy = user / ".parler", user / ".parler-codex"
    anna, eve = (somebody(user, one).agent_id for one in "ae")
    choose(legacy, TEAM)
    Contacts(legacy).trust(anna, "Anna", now=5)
    Senders(legacy).accept(eve)
    unlink, ends = Path.unlink, iter([True, False])

    def killed(path: Path, missing_ok: bool = False) -> None:
        if path.parent == legacy and next(ends):
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        take_over(machine)
    monkeypatch.undo()
    take_over(machine)
    assert [one.ids for one in Contacts(machine).all()] == [[anna]]
    assert Senders(machine).read().accepted == [eve]
    assert [one.name for one in legacy.glob("*.json")] == ["config.json"]


def test_a_damaged_file_is_named_and_stays(user: Path) -> None:
    senders = user / ".parler-codex" / "senders.json"
    senders.write_text("{", encoding="utf-8")
    senders.chmod(0o600)
    with pytest.raises(ConfigError, match="is damaged"):
        process_settings(Flags())
    assert senders.exists()


def test_a_hub_that_was_made_there_stays_with_its_rooms(user: Path) -> None:
    machine, legacy = user / ".parler", user / ".parler-codex"
    assert hub_paths(legacy).folder == machine / "hub"
    (legacy / "hub").mkdir()
    record = legacy / "hub" / "local.json"
    record.write_text('{"addr": "127.0.0.1:7999"}', encoding="utf-8")
    for home in (machine, legacy, machine / "agents" / "codex"):
        assert hub_paths(home).folder == legacy / "hub"
    assert local_url(machine) == "ws://127.0.0.1:7999"
    (machine / "hub").mkdir(parents=True)
    (machine / "hub" / "local.json").write_bytes(record.read_bytes())
    assert hub_paths(legacy).folder == machine / "hub"
