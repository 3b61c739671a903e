"""Qwen Code: a relative of Gemini CLI with a folder of its own."""

from pathlib import Path

from parler.apps.config_files.edits import FileEdit
from parler.apps.kit.config import Config, Wiring, plain_entry, server_file
from parler.apps.kit.platform import Machine


def _folder(machine: Machine) -> Path:
    return machine.folder("QWEN_HOME", ".qwen")


def _files(machine: Machine, wiring: Wiring) -> tuple[FileEdit, ...]:
    path = _folder(machine) / "settings.json"
    return (server_file(path, ("mcpServers",), plain_entry(wiring)),)


def _traces(machine: Machine) -> tuple[Path, ...]:
    return (_folder(machine),)


CONFIG = Config(
    traces=_traces,
    files=_files,
    restart="restart qwen",
)
