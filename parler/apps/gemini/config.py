"""Gemini CLI: server and hooks in ``settings.json``, trust in a policy file of ours.

``trust: true`` in the entry would let every tool run unasked, those that let somebody
in or write a file included; ``includeTools`` would hide them. A policy names the safe
ones and leaves the others to the user; of a tool that it is not offered, Gemini warns.
"""

from dataclasses import replace
from enum import Enum, auto
from pathlib import Path

from parler.apps.config_files.edits import FileEdit, Format, value_at
from parler.apps.kit.config import (
    Config,
    Texts,
    Trouble,
    Wiring,
    hook_groups,
    plain_entry,
    server_file,
)
from parler.apps.kit.offered import OFFERED_TOOLS
from parler.apps.kit.platform import Machine
from parler.apps.kit.trust import SAFE_TOOLS, SERVER

_MARK = "# Written by `parler connect`"
_EVENTS: dict[str, tuple[dict[str, object], ...]] = {
    "SessionStart": (
        {
            "type": "command",
            "command": "session-start",
            "name": SERVER,
            "timeout": 10000,
        },
    ),
    "BeforeAgent": (
        {"type": "command", "command": "prompt", "name": SERVER, "timeout": 10000},
    ),
    "BeforeTool": (
        {
            "matcher": "write_file|replace",
            "type": "command",
            "command": "pre-edit",
            "name": SERVER,
            "timeout": 10000,
        },
    ),
    "AfterAgent": (
        {"type": "command", "command": "stop", "name": SERVER, "timeout": 10000},
    ),
}


def policy() -> str:
    """The rule that lets the safe tools run, except where nothing may be done."""
    safe = [tool for tool in SAFE_TOOLS if tool in OFFERED_TOOLS]
    tools = "".join(f'  "{tool}",\n' for tool in safe)
    return (
        f"{_MARK}; `parler connect --remove gemini` takes it away again.\n"
        f"[[rule]]\n"
        f'mcpName = "{SERVER}"\n'
        f"toolName = [\n{tools}]\n"
        f'decision = "allow"\n'
        f"priority = 100\n"
        f'modes = ["default", "autoEdit", "yolo"]\n'
    )


def _folder(machine: Machine) -> Path:
    given = machine.env.get("GEMINI_CLI_HOME")
    return (machine.folder("GEMINI_CLI_HOME") if given else machine.home) / ".gemini"


def _files(machine: Machine, wiring: Wiring) -> tuple[FileEdit, ...]:
    adds, sweeps = hook_groups(wiring, _EVENTS)
    servers = server_file(
        _folder(machine) / "settings.json", ("mcpServers",), plain_entry(wiring)
    )
    return (
        replace(
            servers,
            changes=(*servers.changes, *adds),
            sweeps=(*servers.sweeps, *sweeps),
        ),
        FileEdit(
            role="policy",
            path=_folder(machine) / "policies" / f"{SERVER}.toml",
            format=Format.OWN,
            content=policy(),
            mark=_MARK,
        ),
    )


def _traces(machine: Machine) -> tuple[Path, ...]:
    # Antigravity keeps a folder of its own in there; the CLI's own files tell.
    folder = _folder(machine)
    return (folder / "settings.json", folder / "installation_id", folder / "tmp")


def _watched(machine: Machine) -> dict[str, Path]:
    given = machine.env.get("GEMINI_CLI_TRUSTED_FOLDERS_PATH")
    path = Path(given) if given else _folder(machine) / "trustedFolders.json"
    return {"trusted": path}


def _examine(machine: Machine, texts: Texts) -> list[Trouble]:
    settings = texts.get("servers")
    found = []
    trust = _trust(machine, settings, texts.get("trusted"))
    if trust is _Trust.REFUSED:
        found.append(
            Trouble(
                what=f"the folder {machine.cwd} is not trusted: all servers are off",
                mend="start gemini there and use /permissions to trust it",
            )
        )
    elif trust is _Trust.UNDECIDED:
        found.append(
            Trouble(
                what=f"Gemini will ask whether {machine.cwd} is trusted; all servers "
                "are off in a folder that is not",
                is_note=True,
            )
        )
    excluded = value_at(settings, ("mcp", "excluded"))
    allowed = value_at(settings, ("mcp", "allowed"))
    if (isinstance(excluded, list) and SERVER in excluded) or (
        isinstance(allowed, list) and SERVER not in allowed
    ):
        found.append(
            Trouble(
                what="its settings do not allow the server parler",
                mend="mend mcp.allowed and mcp.excluded in settings.json",
            )
        )
    if value_at(settings, ("hooksConfig", "enabled")) is False:
        found.append(
            Trouble(
                what="hooks are switched off, so messages wait for the next tool call",
                mend="set hooksConfig.enabled in settings.json to true",
                is_note=True,
            )
        )
    return found


class _Trust(Enum):
    """What was decided about the folder where we look."""

    GIVEN = auto()
    REFUSED = auto()
    UNDECIDED = auto()


def _trust(machine: Machine, settings: object, trusted: object) -> _Trust:
    if value_at(settings, ("security", "folderTrust", "enabled")) is False:
        return _Trust.GIVEN
    if machine.env.get("GEMINI_CLI_TRUST_WORKSPACE") == "true" or not machine.cwd:
        return _Trust.GIVEN
    rules = trusted if isinstance(trusted, dict) else {}
    for folder in (machine.cwd, *machine.cwd.parents):
        rule = rules.get(str(folder))
        if rule == "DO_NOT_TRUST" and folder == machine.cwd:
            return _Trust.REFUSED
        if rule == "TRUST_FOLDER":
            return _Trust.GIVEN
        if any(
            Path(path).parent == folder and one == "TRUST_PARENT"
            for path, one in rules.items()
        ):
            return _Trust.GIVEN
    return _Trust.UNDECIDED


CONFIG = Config(
    traces=_traces,
    files=_files,
    restart="restart gemini",
    examine=_examine,
    watched=_watched,
)
