"""Goose: one extension in ``config.yaml``.

Its file is changed only where it is plain enough to be certain; else the user is told
to enter the extension by ``goose configure``.
"""

from pathlib import Path

from parler.apps.config_files.edits import FileEdit, Format
from parler.apps.kit.config import Config, Wiring, server_file
from parler.apps.kit.platform import Machine, Platform
from parler.apps.kit.trust import SERVER

START_SECS = 300


def _folder(machine: Machine) -> Path:
    if machine.platform is Platform.WINDOWS:
        return machine.app_data / "Block" / "goose" / "config"
    return machine.config / "goose"


def _files(machine: Machine, wiring: Wiring) -> tuple[FileEdit, ...]:
    value: dict[str, object] = {
        "enabled": True,
        "type": "stdio",
        "name": SERVER,
        "description": "Talk with other coding agents",
        "cmd": wiring.command[0],
        "args": wiring.args,
        "envs": wiring.env,
        "env_keys": [],
        "timeout": START_SECS,
        "bundled": None,
    }
    path = _folder(machine) / "config.yaml"
    return (server_file(path, ("extensions",), value, format=Format.YAML),)


def _traces(machine: Machine) -> tuple[Path, ...]:
    return (_folder(machine), machine.application("Goose"))


CONFIG = Config(
    traces=_traces,
    files=_files,
    restart="start a new goose session",
)
