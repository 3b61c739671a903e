"""Codex: one table in ``config.toml``, hooks in ``hooks.json``.

No approval mode is written and no command rule: our tools say honestly what they do,
and Codex runs the harmless ones by that. ``codex mcp add`` would rewrite the whole
table and drop what else the user put there.
"""

from pathlib import Path

from parler.hosts.edits import FileEdit, Format, value_at
from parler.hosts.host import (
    Host,
    Texts,
    Trouble,
    Wiring,
    hook_groups,
    plain_entry,
    server_file,
)
from parler.hosts.machine import Machine
from parler.hosts.trust import is_our_hook

APP = "codex"
_RULES_MARK = 'pattern=["parler"]'
_EVENTS: dict[str, tuple[dict[str, object], ...]] = {
    "SessionStart": ({"type": "command", "command": "session-start", "timeout": 10},),
    "UserPromptSubmit": ({"type": "command", "command": "prompt", "timeout": 10},),
    "PreToolUse": (
        {
            "matcher": "apply_patch|Edit|Write",
            "type": "command",
            "command": "pre-edit",
            "timeout": 10,
        },
    ),
    "Stop": ({"type": "command", "command": "stop", "timeout": 10},),
}
_STATE_NAMES = {
    "SessionStart": "session_start",
    "UserPromptSubmit": "user_prompt_submit",
    "PreToolUse": "pre_tool_use",
    "Stop": "stop",
}


def _folder(machine: Machine) -> Path:
    return machine.folder("CODEX_HOME", ".codex")


def _files(machine: Machine, wiring: Wiring) -> tuple[FileEdit, ...]:
    adds, sweeps = hook_groups(wiring, APP, _EVENTS)
    return (
        server_file(
            _folder(machine) / "config.toml",
            ("mcp_servers",),
            plain_entry(wiring),
            format=Format.TOML,
        ),
        FileEdit(
            role="hooks",
            path=_folder(machine) / "hooks.json",
            changes=adds,
            sweeps=sweeps,
        ),
        # An earlier client let every `parler …` run outside the sandbox: taken back.
        FileEdit(
            role="rules",
            path=_folder(machine) / "rules" / "parler.rules",
            format=Format.OWN,
            content="",
            mark=_RULES_MARK,
        ),
    )


def _traces(machine: Machine) -> tuple[Path, ...]:
    return (_folder(machine),)


def _examine(machine: Machine, texts: Texts) -> list[Trouble]:
    config, hooks = texts.get("servers"), texts.get("hooks")
    if value_at(config, ("features", "hooks")) is False:
        return [
            Trouble(
                what="hooks are switched off, so messages wait for the next tool call",
                mend="codex features enable hooks",
                is_note=True,
            )
        ]
    file = _folder(machine) / "hooks.json"
    untrusted = [
        event
        for event, name in _STATE_NAMES.items()
        for at in _ours(hooks, event)
        if not value_at(
            config, ("hooks", "state", f"{file}:{name}:{at}:0", "trusted_hash")
        )
    ]
    if not untrusted:
        return []
    return [
        Trouble(
            what="Codex skips our hooks until you have trusted them",
            mend="start codex, open /hooks and trust those of parler",
        )
    ]


def _ours(hooks: object, event: str) -> list[int]:
    groups = value_at(hooks, ("hooks", event))
    listed = groups if isinstance(groups, list) else []
    return [index for index, group in enumerate(listed) if is_our_hook(group)]


HOST = Host(
    id=APP,
    title="Codex",
    commands=("codex",),
    traces=_traces,
    files=_files,
    restart="restart codex",
    hook_notes=("Codex skips hooks until you trust them: start it and open /hooks",),
    examine=_examine,
)
