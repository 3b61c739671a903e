"""Cursor: servers in ``mcp.json``, hooks in ``hooks.json``."""

from pathlib import Path

from parler.apps.config_files.edits import FileEdit, Put
from parler.apps.kit.config import Config, Wiring, hook_list, plain_entry, server_file
from parler.apps.kit.platform import Machine

_EVENTS: dict[str, dict[str, object]] = {
    "sessionStart": {"command": "session-start", "timeout": 10},
    "preToolUse": {"matcher": "Write", "command": "pre-edit", "timeout": 10},
    # Mail that waits at the end of a turn becomes the next one, this often in a row.
    "stop": {"command": "stop", "timeout": 10, "loop_limit": 5},
    "sessionEnd": {"command": "session-end", "timeout": 5},
}


def _files(machine: Machine, wiring: Wiring) -> tuple[FileEdit, ...]:
    folder = machine.home / ".cursor"
    adds, sweeps = hook_list(wiring, _EVENTS)
    version = (Put(("version",), 1, unless_there=True),) if adds else ()
    return (
        server_file(folder / "mcp.json", ("mcpServers",), plain_entry(wiring)),
        FileEdit(
            role="hooks",
            path=folder / "hooks.json",
            changes=(*version, *adds),
            sweeps=sweeps,
        ),
    )


def _traces(machine: Machine) -> tuple[Path, ...]:
    return (
        machine.home / ".cursor",
        machine.app_data / "Cursor",
        machine.application("Cursor"),
    )


CONFIG = Config(
    traces=_traces,
    files=_files,
    restart="in Cursor: Settings, Tools & MCP, switch parler on; or restart it",
)
