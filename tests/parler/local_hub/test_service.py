"""The hub as a service of its user: what is written, and what is left alone."""

import os
import plistlib
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from parler.errors import ConfigError
from parler.local_hub import service
from tests._support.polling import WAIT

ODD = 'it\'s 100% "mine" $HOME & <co>'


def made(home: Path, platform: str = "linux") -> service.Service:
    variables = {"HOME": str(home)}
    return service.this_system(home / ".parler", platform=platform, variables=variables)


@pytest.fixture(autouse=True)
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A service manager that notes what it is told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("systemctl", "launchctl"):
        program = folder / name
        program.write_text(
            f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/told\n'
            f"[ ! -e {tmp_path}/broken ]\n",
            encoding="utf-8",
        )
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "told"


def test_installing_writes_one_private_file_and_removing_takes_it_away(
    home: Path, manager: Path
) -> None:
    unit = made(home)
    assert unit.file == home / ".config/systemd/user/parler-hub.service"
    for _ in range(2):
        assert service.install(unit) == []
    assert stat.S_IMODE(unit.file.stat().st_mode) == 0o600
    assert [path.name for path in unit.file.parent.iterdir()] == [unit.file.name]
    assert service.active(unit)
    assert service.uninstall(unit) == []
    assert not unit.file.exists()
    assert service.uninstall(unit) is None
    assert manager.read_text(encoding="utf-8").splitlines()[-2:] == [
        "systemctl --user disable --now parler-hub.service",
        "systemctl --user daemon-reload",
    ]


def test_what_the_manager_did_not_do_is_left_to_the_user(
    home: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken").touch()
    unit = made(home)
    assert service.install(unit) == [
        "systemctl --user daemon-reload",
        "systemctl --user enable --now parler-hub.service",
    ]
    assert not service.start(unit)


def test_a_file_of_somebody_else_is_left_as_it_is(home: Path) -> None:
    unit = made(home)
    unit.file.parent.mkdir(parents=True)
    unit.file.write_text("[Service]\nExecStart=/mine\n", encoding="utf-8")
    for change in (service.install, service.uninstall):
        with pytest.raises(ConfigError, match="was not made by parler"):
            change(unit)
    assert "ExecStart=/mine" in unit.file.read_text(encoding="utf-8")


def test_another_home_has_a_service_of_its_own(home: Path) -> None:
    variables = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "conf")}
    names = {
        service.this_system(folder, platform="linux", variables=variables).file.name
        for folder in (
            home / ".parler",
            home / ".parler/agents/x",
            home / "b",
            home / "c",
        )
    }
    assert len(names) == 3
    assert "parler-hub.service" in names


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
@pytest.mark.parametrize("name", ["plain", ODD])
def test_systemd_takes_the_unit(home: Path, tmp_path: Path, name: str) -> None:
    base = home / name
    base.mkdir()
    unit = service.this_system(base, platform="linux", variables={"HOME": str(home)})
    service.install(unit)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", str(unit.file)],
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=WAIT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_no_word_of_the_unit_is_expanded() -> None:
    base = Path("/home") / ODD
    unit = service.this_system(base, platform="linux", variables={"HOME": "/home"})
    line = next(one for one in unit.text.splitlines() if one.startswith("ExecStart="))
    assert '"/home/it\'s 100%% \\"mine\\" $$HOME & <co>"' in line
    assert '"-P" "-m" "parler" "hub" "run" "--home"' in line


def test_launchd_is_told_the_same(home: Path, manager: Path) -> None:
    agent = service.this_system(
        home / ODD, platform="darwin", variables={"HOME": str(home)}
    )
    assert service.install(agent) == []
    content = plistlib.loads(agent.file.read_bytes())
    assert content["ProgramArguments"] == service.hub_command(home / ODD)
    assert content["KeepAlive"] == {"SuccessfulExit": False}
    assert agent.file.parent == home / "Library/LaunchAgents"
    assert "launchctl load -w" in manager.read_text(encoding="utf-8")
    assert service.uninstall(agent) == []


def test_windows_is_told_the_same(home: Path) -> None:
    base = home / "it's & <co>"
    task = service.this_system(base, platform="win32", variables={"HOME": str(home)})
    left = service.install(task)
    assert left[0].startswith("schtasks /Create /TN parler-hub-")
    root = ElementTree.fromstring(task.file.read_bytes())
    names = {"t": "http://schemas.microsoft.com/windows/2004/02/mit/task"}
    action = root.find("t:Actions/t:Exec", names)
    assert action is not None
    assert action.findtext("t:Command", namespaces=names) == sys.executable
    words = action.findtext("t:Arguments", namespaces=names) or ""
    assert words.startswith("-P -m parler hub run --home ")
    assert str(base) in words
    assert root.find("t:Triggers/t:LogonTrigger", names) is not None
    assert service.uninstall(task) == ["schtasks /Delete /TN " + task.name + " /F"]
