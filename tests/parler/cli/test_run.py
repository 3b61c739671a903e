"""Which hub a command dials, and in whose name."""

import json
from pathlib import Path

import pytest

from parler.cli import app
from parler.cli._run import ELSEWHERE, HERE, Options, Place, hub_of, settings_of
from parler.identity.identity import set_active_session
from parler.identity.known_rooms import KnownRooms
from parler.wire.base import RoomName

CONFIGURED = "ws://127.0.0.1:1"
THERE = "ws://127.0.0.1:2"


def chosen(home: Path, place: Place, *, flag: str | None = None) -> str:
    options = Options(command="recv", hub=flag)
    known_rooms = KnownRooms(home / ".parler")
    return hub_of(options, place, settings_of(options), known_rooms)


@pytest.fixture
def joined(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PARLER_HUB", CONFIGURED)
    KnownRooms(home / ".parler").remember(THERE, RoomName("room.x"))
    set_active_session(home / ".parler", RoomName("room.x"))
    return home


def test_commands_in_a_session_go_to_its_hub(joined: Path) -> None:
    assert chosen(joined, HERE) == THERE
    assert chosen(joined, Place(room="room.x")) == THERE


def test_other_commands_go_to_the_configured_hub(joined: Path) -> None:
    assert chosen(joined, ELSEWHERE) == CONFIGURED
    assert chosen(joined, Place(room="room.y")) == CONFIGURED


def test_a_pasted_key_and_a_flag_have_more_say(joined: Path) -> None:
    key = Place(key_hub="ws://127.0.0.1:3", in_session=False)
    assert chosen(joined, key) == "ws://127.0.0.1:3"
    assert chosen(joined, HERE, flag="ws://127.0.0.1:4") == "ws://127.0.0.1:4"
    assert chosen(joined, key, flag="ws://127.0.0.1:4") == "ws://127.0.0.1:4"


def test_the_first_use_makes_an_identity_and_says_so(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["whoami", "--json"]) == 0
    first = capfd.readouterr()
    assert "first run" in first.err
    assert app.run(["whoami", "--json"]) == 0
    again = capfd.readouterr()
    assert again.err == ""
    assert json.loads(again.out) == json.loads(first.out)


def test_quiet_says_nothing_beside_the_result(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["whoami", "--quiet"]) == 0
    assert capfd.readouterr().err == ""


def test_init_makes_an_identity_once_unless_forced(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    init = ["init", "--home", str(tmp_path), "--name", "ann", "--json"]
    assert app.run(init) == 0
    first = json.loads(capfd.readouterr().out)
    assert first["name"] == "ann"
    assert app.run(init) == 3
    error = json.loads(capfd.readouterr().err)["error"]
    assert error["next"] == f"parler init --home {tmp_path}-2"
    assert "--force" in error["message"]
    assert "PARLER_NAME" in error["message"]
    assert "PARLER_ROLE" in error["message"]
    assert app.run([*init, "--force"]) == 0
    assert json.loads(capfd.readouterr().out)["id"] != first["id"]


def test_a_mistyped_home_makes_no_identity(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    typo = tmp_path / "hoem"
    for command in (["whoami"], ["rooms"], ["send", "hi", "--room", "room.x"]):
        hub = ["--hub", "ws://127.0.0.1:9"]
        assert app.run([*command, "--home", str(typo), *hub, "--json"]) == 3
        error = json.loads(capfd.readouterr().err)["error"]
        assert error["code"] == "identity"
        assert error["next"] == f"parler init --home {typo}"
        assert not typo.exists()
    assert app.run(["init", "--home", str(typo)]) == 0
    assert app.run(["whoami", "--home", str(typo)]) == 0


@pytest.mark.parametrize(("content", "mode"), [("{", 0o600), ("{}", 0o644)])
def test_a_damaged_or_open_key_file_is_refused_with_its_remedy(
    home: Path, capfd: pytest.CaptureFixture[str], content: str, mode: int
) -> None:
    folder = home / ".parler"
    folder.mkdir()
    (folder / "config.json").write_text(content, encoding="utf-8")
    (folder / "config.json").chmod(mode)
    assert app.run(["whoami", "--json"]) == 3
    error = json.loads(capfd.readouterr().err)["error"]
    assert error["code"] == "identity"
    assert error["next"]


@pytest.mark.parametrize(
    ("hub", "status"),
    [
        ("ws://127.0.0.1:9", 4),
        ("ws://hub.example.org", 3),
        ("nonsense://x", 3),
    ],
)
def test_a_hub_that_cannot_be_dialled_is_one_sentence(
    home: Path, capfd: pytest.CaptureFixture[str], hub: str, status: int
) -> None:
    assert app.run(["rooms", "--hub", hub, "--quiet"]) == status
    said = capfd.readouterr().err
    assert said.count("\n") == 1


def test_a_doctor_without_identity_makes_none(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["doctor", "--json", "--hub", "ws://127.0.0.1:9"]) == 4
    found = json.loads(capfd.readouterr().out)
    assert not found["ok"]
    assert not (home / ".parler").exists()


def test_a_doctor_ends_with_the_status_of_what_is_broken(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["whoami", "--quiet"]) == 0
    assert app.run(["doctor", "--json", "--hub", "ws://127.0.0.1:9"]) == 4
    *_, last = capfd.readouterr().out.splitlines()
    checks = {check["name"]: check for check in json.loads(last)["checks"]}
    assert checks["hub"]["finding"] == "broken"
    assert checks["identity"]["finding"] == "ok"
