"""The commands about this machine's own hub, without a hub."""

import json
from pathlib import Path

import pytest

from parler.cli import app, hub
from parler.local_hub import Record, hub_paths, write_record


@pytest.mark.parametrize("command", sorted(hub.COMMANDS))
def test_each_command_explains_itself(
    command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["hub", command, "--help"]) == 0
    shown = capfd.readouterr().out
    assert f"parler hub {command}" in shown
    for option in ("--json", "--quiet", "--home", "--help"):
        assert option in shown


def test_the_hubs_own_help_names_them(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        app.run(["hub", "--help"])
    told = "".join(capfd.readouterr().out.split())
    for command in hub.COMMANDS:
        assert command in told


def test_looking_makes_nothing(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert app.run(["hub", "status", "--json"]) == 0
    status = json.loads(capfd.readouterr().out)
    assert (status["state"], status["healthy"]) == ("stopped", False)
    assert app.run(["hub", "status"]) == 0
    assert app.run(["hub", "logs", "--json"]) == 2
    assert "parler hub start" in capfd.readouterr().err
    assert app.run(["hub", "stop"]) == 0
    assert app.run(["hub", "uninstall-service"]) == 0
    assert list(home.iterdir()) == []


def test_the_log_is_shown_across_its_two_files(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = hub_paths(home / ".parler").log
    log.parent.mkdir(parents=True)
    log.with_name("hub.log.1").write_text("one\ntwo\n", encoding="utf-8")
    log.write_text("three\x1b[2J\n", encoding="utf-8")
    assert app.run(["hub", "logs", "-n", "2"]) == 0
    shown = capfd.readouterr().out
    assert shown.startswith("two\nthree")
    assert "\x1b" not in shown
    assert app.run(["hub", "logs", "-n", "0", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"lines": []}


def test_a_service_runs_what_the_owner_decided(home: Path) -> None:
    base = home / ".parler"
    place = hub_paths(base)
    write_record(place, Record(addr="127.0.0.1:7171", name="mine"))
    place.stopped.touch()
    arguments = hub.arguments_of_own_hub(str(base))
    assert arguments[:2] == ["--addr", "127.0.0.1:7171"]
    assert arguments[-4:] == ["--name", "mine", "--log-file", str(place.log)]
    assert not place.stopped.exists()


def test_a_mistyped_option_is_the_hubs_to_refuse() -> None:
    with pytest.raises(SystemExit) as caught:
        app.run(["hub", "--adr"])
    assert caught.value.code == 2
