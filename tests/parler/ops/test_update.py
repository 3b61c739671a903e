"""What `parler update` runs and where, and what it says where no index can help."""

import shlex
import sys
from pathlib import Path

import pytest

from parler.errors import ConfigError
from parler.machine import installed as how
from parler.machine.installed import Installed, Way
from parler.ops.update import look


def test_no_file_of_the_folder_that_one_is_in_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w', encoding='utf-8')\n"
    (tmp_path / "pip.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ConfigError, match="No matching distribution"):
        look(Installed(way=Way.VENV, where=tmp_path))
    assert not ran.exists()


@pytest.mark.parametrize(
    ("name", "receipt", "way", "replaces"),
    [
        (
            "uv-receipt.toml",
            'requirements = [{ name = "parler-agents", specifier = "==0.1.0" }]',
            Way.UV,
            "uv tool install --force parler-agents",
        ),
        (
            "uv-receipt.toml",
            'requirements = [{ name = "parler-agents" }]\n'
            'constraints = [{ name = "mcp", specifier = "<3" }]',
            Way.UV,
            "uv tool upgrade parler-agents",
        ),
        (
            "pipx_metadata.json",
            '{"main_package": {"package_or_url": "parler-agents==0.1.0"}}',
            Way.PIPX,
            "pipx install --force parler-agents",
        ),
        (
            "pipx_metadata.json",
            '{"main_package": {"package": "parler-agents", "pip_args": []}}',
            Way.PIPX,
            "pipx upgrade parler-agents",
        ),
    ],
)
def test_a_version_that_was_asked_for_is_given_up_for_the_newest(
    name: str,
    receipt: str,
    way: Way,
    replaces: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / name).write_text(receipt, encoding="utf-8")
    here = tmp_path / "lib"
    (here / "parler_agents-0.1.0.dist-info").mkdir(parents=True)
    (here / "parler_agents-0.1.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: parler-agents\nVersion: 0.1.0\n", encoding="utf-8"
    )
    monkeypatch.setattr(how, "__file__", str(here / "parler/machine/installed.py"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    found = how.installed()
    assert (found.way, " ".join(found.replacing())) == (way, replaces)


def test_what_failed_is_named_as_it_can_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    found = Installed(way=Way.VENV, where=tmp_path)
    with pytest.raises(ConfigError) as failed:
        look(found)
    assert failed.value.next_step == shlex.join(found.replacing())
    assert "--target" not in failed.value.next_step


def test_where_no_pip_is_uv_installs_into_that_environment(tmp_path: Path) -> None:
    found = Installed(way=Way.UV_VENV, where=tmp_path)
    for line in (found.replacing(), found.fetching(tmp_path)):
        assert line[:3] == ["uv", "pip", "install"]
        assert line[line.index("--python") + 1] == sys.executable


@pytest.mark.parametrize(
    ("way", "step"),
    [
        (Way.SCRIPT, "git -C {0} pull && {0}/scripts/install.sh"),
        (Way.VENV, "install it again from {0}"),  # the script would put it elsewhere
    ],
)
def test_what_was_installed_from_a_clone_is_updated_by_two_commands_to_paste(
    tmp_path: Path, way: Way, step: str
) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/install.sh").touch()
    found = Installed(way=way, where=tmp_path / "env", source=str(tmp_path))
    assert look(found).next == step.format(tmp_path)
