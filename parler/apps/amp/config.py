"""Amp: ``amp.mcpServers`` in its settings; the dot is part of the key."""

from pathlib import Path

from parler.apps.config_files.edits import FileEdit
from parler.apps.kit.config import Config, Wiring, plain_entry, server_file
from parler.apps.kit.platform import Machine, Platform


def _folder(machine: Machine) -> Path:
    if machine.platform is Platform.LINUX:
        return machine.config / "amp"
    return machine.home / ".config" / "amp"


def _settings(machine: Machine) -> Path:
    given = machine.env.get("AMP_SETTINGS_FILE")
    if given:
        return machine.folder("AMP_SETTINGS_FILE")
    commented = _folder(machine) / "settings.jsonc"
    return commented if commented.exists() else _folder(machine) / "settings.json"


def _files(machine: Machine, wiring: Wiring) -> tuple[FileEdit, ...]:
    value = plain_entry(wiring)
    return (server_file(_settings(machine), ("amp.mcpServers",), value),)


def _traces(machine: Machine) -> tuple[Path, ...]:
    return (_folder(machine),)


CONFIG = Config(
    traces=_traces,
    files=_files,
    restart="restart amp",
)
