"""Claude Desktop: servers in ``claude_desktop_config.json``."""

from pathlib import Path

from parler.apps.config_files.edits import FileEdit
from parler.apps.kit.config import Config, Wiring, plain_entry, server_file
from parler.apps.kit.platform import Machine


def _files(machine: Machine, wiring: Wiring) -> tuple[FileEdit, ...]:
    path = machine.app_data / "Claude" / "claude_desktop_config.json"
    return (server_file(path, ("mcpServers",), plain_entry(wiring)),)


def _traces(machine: Machine) -> tuple[Path, ...]:
    return (machine.app_data / "Claude", machine.application("Claude"))


CONFIG = Config(
    traces=_traces,
    files=_files,
    restart="quit Claude Desktop altogether and start it again",
)
