"""Zed: ``context_servers`` in its settings, which are JSON with comments."""

from pathlib import Path

from parler.apps.config_files.edits import FileEdit
from parler.apps.kit.config import Config, Wiring, plain_entry, server_file
from parler.apps.kit.platform import Machine, Platform


def _folder(machine: Machine) -> Path:
    # On macOS, too, its settings are where command line programs have theirs.
    if machine.platform is Platform.WINDOWS:
        return machine.app_data / "Zed"
    if machine.platform is Platform.MACOS:
        return machine.home / ".config" / "zed"
    return machine.config / "zed"


def _files(machine: Machine, wiring: Wiring) -> tuple[FileEdit, ...]:
    path = _folder(machine) / "settings.json"
    value = {"source": "custom", "enabled": True, **plain_entry(wiring)}
    return (server_file(path, ("context_servers",), value),)


def _traces(machine: Machine) -> tuple[Path, ...]:
    return (_folder(machine), machine.application("Zed"))


CONFIG = Config(
    traces=_traces,
    files=_files,
    restart="nothing: Zed reads its settings as they change",
)
