"""Claude Code: servers in ``.claude.json``, permissions and hooks in ``settings.json``.

The file is written rather than ``claude mcp add`` run: that refuses an entry that
exists, would have to be preceded by a removal, and says nothing about hooks.
"""

from collections.abc import Mapping
from pathlib import Path

from parler.apps.claude_code.hooks import PERMISSION_SECS
from parler.apps.config_files.edits import Add, DropItems, FileEdit, value_at
from parler.apps.kit.config import (
    Config,
    Texts,
    Trouble,
    Wiring,
    hook_groups,
    plain_entry,
    server_file,
)
from parler.apps.kit.platform import Machine
from parler.apps.kit.trust import ASKED_TOOLS, SAFE_TOOLS, SERVER, is_our_rule

IDLE_WAIT_SECS = 24 * 3600
"""How long one waiter for mail may stay behind an idle session."""

_ALLOW = ("permissions", "allow")
_EVENTS: dict[str, tuple[dict[str, object], ...]] = {
    "SessionStart": (
        {"type": "command", "command": "session-start", "timeout": 10},
        {
            "type": "command",
            "command": "idle",
            "timeout": IDLE_WAIT_SECS,
            "asyncRewake": True,
        },
    ),
    "UserPromptSubmit": ({"type": "command", "command": "prompt", "timeout": 10},),
    "PreToolUse": (
        {
            "matcher": "Edit|Write|MultiEdit|NotebookEdit",
            "type": "command",
            "command": "pre-edit",
            "timeout": 10,
        },
    ),
    "PermissionRequest": (
        {
            "type": "command",
            "command": "permission",
            "timeout": PERMISSION_SECS + 10,
        },
    ),
    "Stop": (
        {"type": "command", "command": "stop", "timeout": 10},
        {
            "type": "command",
            "command": "idle",
            "timeout": IDLE_WAIT_SECS,
            "asyncRewake": True,
        },
    ),
    "SessionEnd": ({"type": "command", "command": "session-end", "timeout": 5},),
}


def _folder(machine: Machine) -> Path:
    return machine.folder("CLAUDE_CONFIG_DIR", ".claude")


def _servers(machine: Machine) -> Path:
    # With CLAUDE_CONFIG_DIR the file moves into that folder.
    if machine.env.get("CLAUDE_CONFIG_DIR"):
        return _folder(machine) / ".claude.json"
    return machine.home / ".claude.json"


def _files(machine: Machine, wiring: Wiring) -> tuple[FileEdit, ...]:
    adds, sweeps = hook_groups(wiring, _EVENTS)
    unasked = (*SAFE_TOOLS, *ASKED_TOOLS)
    allowed = tuple(Add(_ALLOW, f"mcp__{SERVER}__{tool}") for tool in unasked)
    return (
        server_file(
            _servers(machine),
            ("mcpServers",),
            {"type": "stdio", **plain_entry(wiring)},
            keep_lock=True,
        ),
        FileEdit(
            role="settings",
            path=_folder(machine) / "settings.json",
            changes=(*allowed, *adds),
            sweeps=(DropItems(_ALLOW, is_our_rule), *sweeps),
        ),
    )


def _traces(machine: Machine) -> tuple[Path, ...]:
    return (_folder(machine), _servers(machine))


def _watched(machine: Machine) -> Mapping[str, Path]:
    return {"project": machine.cwd / ".mcp.json"} if machine.cwd else {}


def _examine(machine: Machine, texts: Texts) -> list[Trouble]:
    found = []
    servers, settings = texts.get("servers"), texts.get("settings")
    here = str(machine.cwd) if machine.cwd else ""
    if value_at(servers, ("projects", here, "mcpServers", SERVER)) is not None:
        found.append(
            Trouble(
                what=f"in {here} an entry of local scope stands before ours",
                mend=f"claude mcp remove {SERVER} --scope local",
            )
        )
    if value_at(texts.get("project"), ("mcpServers", SERVER)) is not None:
        found.append(
            Trouble(
                what=f"in {here} an entry in .mcp.json stands before ours",
                mend=f"claude mcp remove {SERVER} --scope project",
            )
        )
    off = value_at(servers, ("projects", here, "disabledMcpServers"))
    if isinstance(off, list) and SERVER in off:
        found.append(
            Trouble(
                what=f"in {here} the server is switched off",
                mend="use /mcp there and enable parler",
            )
        )
    if texts.get("settings.comments"):
        found.append(
            Trouble(
                what="settings.json has comments, so Claude Code ignores all of it",
                mend="take the comments out of it",
            )
        )
    if value_at(settings, ("disableAllHooks",)) is True:
        found.append(
            Trouble(
                what="disableAllHooks is set, so messages do not wake it",
                mend="remove disableAllHooks from settings.json",
            )
        )
    if value_at(servers, ("projects", here, "hasTrustDialogAccepted")) is False:
        found.append(
            Trouble(
                what=f"the folder {here} is not trusted, so hooks do not run there",
                mend="start claude there and accept the question",
                is_note=True,
            )
        )
    return found


CONFIG = Config(
    traces=_traces,
    files=_files,
    restart="restart claude, or use /mcp in a running one",
    examine=_examine,
    watched=_watched,
)
