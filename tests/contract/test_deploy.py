"""What the files for deploying say about a hub is what a hub understands."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from hub.settings import parser
from tests._support.polling import WAIT

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
SETTINGS = {
    "PARLER_HUB_" + option.strip("-").upper().replace("-", "_")
    for action in parser({})._actions
    for option in action.option_strings
}
FILES = [
    ROOT / "Dockerfile",
    ROOT / "fly.toml",
    DEPLOY / "compose" / "compose.yaml",
    DEPLOY / "systemd" / "parler-hub.service",
]
NAME = re.compile(r"\bPARLER_HUB_[A-Z_]+\b")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_setting_that_is_made_is_one(path: Path) -> None:
    named = set(NAME.findall(path.read_text(encoding="utf-8")))
    assert named
    assert named <= SETTINGS


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_opens_a_hub_to_everybody(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    public = [line for line in lines if "PARLER_HUB_PUBLIC" in line]
    # Only where somebody hands the variable in, and empty without that.
    assert all("${PARLER_HUB_PUBLIC:-}" in line for line in public)


def test_fly_keeps_the_hub_running_and_its_data() -> None:
    fly = tomllib.loads((ROOT / "fly.toml").read_text(encoding="utf-8"))
    service = fly["http_service"]
    assert service["auto_stop_machines"] == "off"
    assert service["min_machines_running"] == 1
    assert service["force_https"] is True
    assert service["checks"][0]["path"] == "/health"
    assert fly["kill_signal"] == "SIGTERM"
    assert fly["mounts"]["destination"] == "/data"
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"PARLER_HUB_ADDR=0.0.0.0:{service['internal_port']}" in dockerfile
    assert "PARLER_HUB_DB=/data/" in dockerfile


def test_no_file_names_a_hub_that_belongs_to_somebody() -> None:
    fly = tomllib.loads((ROOT / "fly.toml").read_text(encoding="utf-8"))
    assert "app" not in fly
    assert "PARLER_HUB_URL" not in fly["env"]
    told = [ROOT / "README.md", ROOT / "llms.txt", ROOT / "server.json"]
    told += [ROOT / "fly.toml", *DEPLOY.rglob("*"), *(ROOT / "docs").rglob("*")]
    for path in (one for one in told if one.is_file() and one.suffix != ".png"):
        named = set(re.findall(r"[\w-]+\.fly\.dev", path.read_text(encoding="utf-8")))
        assert named <= {"YOUR-APP.fly.dev"}, path


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    board = json.loads(
        (DEPLOY / "grafana" / "parler-hub.json").read_text(encoding="utf-8")
    )
    assert board["title"]
    assert board["schemaVersion"] >= 36
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(numbers) == len(set(numbers))
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            assert target["expr"].count("(") == target["expr"].count(")")


@pytest.mark.parametrize(
    "script", sorted(DEPLOY.rglob("smoke")), ids=lambda path: path.parent.name
)
def test_every_smoke_script_is_one(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", script], timeout=WAIT, check=True)


def test_every_folder_has_its_readme_and_smoke_script() -> None:
    for folder in (path for path in DEPLOY.iterdir() if path.is_dir()):
        assert (folder / "smoke").is_file(), folder
        assert len((folder / "README.md").read_text(encoding="utf-8").splitlines()) < 16


def test_the_registry_is_told_what_is_there() -> None:
    server = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    [package] = server["packages"]
    assert package["identifier"] == project["project"]["name"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"mcp-name: {server['name']}" in readme
    assert len(server["description"]) <= 100
    version = (ROOT / "parler" / "_version.py").read_text(encoding="utf-8")
    assert f'"{server["version"]}"' in version
    assert package["version"] == server["version"]
    assert [one["value"] for one in package["packageArguments"]] == ["mcp"]


def test_the_registry_is_told_of_settings_that_exist() -> None:
    server = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))
    [package] = server["packages"]
    said = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "parler").rglob("*.py")
    )
    for variable in package["environmentVariables"]:
        assert f'"{variable["name"]}"' in said
