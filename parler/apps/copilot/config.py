"""GitHub Copilot's command line program: servers, and a hook file of our own."""

import json
from pathlib import Path

from parler.apps.config_files.edits import FileEdit, Format
from parler.apps.kit.config import Config, Wiring, plain_entry, server_file
from parler.apps.kit.platform import Machine, Platform
from parler.apps.kit.trust import SERVER

_EVENTS = {"sessionStart": "session-start", "agentStop": "stop"}


def _folder(machine: Machine) -> Path:
    return machine.folder("COPILOT_HOME", ".copilot")


def _files(machine: Machine, wiring: Wiring) -> tuple[FileEdit, ...]:
    value = {"type": "local", "tools": ["*"], **plain_entry(wiring)}
    hooks = FileEdit(
        role="hooks",
        path=_folder(machine) / "hooks" / f"{SERVER}.json",
        format=Format.OWN,
        content=_hooks(machine, wiring),
        mark=f"--app {wiring.app}",
    )
    path = _folder(machine) / "mcp-config.json"
    return (server_file(path, ("mcpServers",), value), hooks)


def _hooks(machine: Machine, wiring: Wiring) -> str:
    if not wiring.hooks:
        return ""
    shell = "powershell" if machine.platform is Platform.WINDOWS else "bash"
    events = dict(_EVENTS)
    if wiring.reservations:
        events["preToolUse"] = "pre-edit"
    hooks = {
        event: [{"type": "command", shell: wiring.hook(ours), "timeoutSec": 10}]
        for event, ours in events.items()
    }
    return json.dumps({"version": 1, "hooks": hooks}, indent=2) + "\n"


def _traces(machine: Machine) -> tuple[Path, ...]:
    return (_folder(machine),)


CONFIG = Config(
    traces=_traces,
    files=_files,
    restart="restart copilot",
)
