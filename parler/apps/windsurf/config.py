"""Windsurf: servers in ``mcp_config.json``; it has no hooks that could bring mail."""

from pathlib import Path

from parler.apps.config_files.edits import FileEdit
from parler.apps.kit.config import Config, Wiring, plain_entry, server_file
from parler.apps.kit.platform import Machine


def _folder(machine: Machine) -> Path:
    return machine.home / ".codeium" / "windsurf"


def _files(machine: Machine, wiring: Wiring) -> tuple[FileEdit, ...]:
    path = _folder(machine) / "mcp_config.json"
    return (server_file(path, ("mcpServers",), plain_entry(wiring)),)


def _traces(machine: Machine) -> tuple[Path, ...]:
    return (
        _folder(machine),
        machine.app_data / "Windsurf",
        machine.application("Windsurf"),
    )


CONFIG = Config(
    traces=_traces,
    files=_files,
    restart="in Cascade: the MCP icon, Refresh; or restart Windsurf",
)
