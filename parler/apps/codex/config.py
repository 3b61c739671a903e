"""Codex: one table in ``config.toml``, hooks in ``hooks.json``.

No approval mode is written and no command rule: our tools say honestly what they do,
and Codex runs the harmless ones by that. ``codex mcp add`` would rewrite the whole
table and drop what else the user put there.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
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
from parler.apps.kit.platform import Machine
from parler.apps.kit.trust import is_our_hook

_RULES_MARK = 'pattern=["parler"]'
_EVENTS: dict[str, tuple[dict[str, object], ...]] = {
    "SessionStart": ({"type": "command", "command": "session-start", "timeout": 10},),
    "UserPromptSubmit": ({"type": "command", "command": "prompt", "timeout": 10},),
    "PreToolUse": (
        {
            "matcher": "apply_patch|Edit|Write|Bash",
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
_MATCHED = frozenset({"session_start", "pre_tool_use"})
"""The events whose matcher is part of what the user trusts."""

_CODEX_TIMEOUT_SECS = 600
"""Of a hook that names none."""


def _folder(machine: Machine) -> Path:
    return machine.folder("CODEX_HOME", ".codex")


def _files(machine: Machine, wiring: Wiring) -> tuple[FileEdit, ...]:
    adds, sweeps = hook_groups(wiring, _EVENTS)
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
    states = {_state(machine, config, name, hook) for name, hook in _ours(hooks)}
    if _State.UNKNOWN in states:
        why = "until you have trusted our hooks"
    elif _State.STALE in states:
        why = "since our hooks changed, until you trust them again"
    else:
        return []
    return [
        Trouble(
            what=f"messages wait for the next tool call {why}",
            mend="start codex, which asks, and trust them; /hooks shows them",
            is_note=True,
        )
    ]


class _State(StrEnum):
    """What Codex thinks of one of our hooks."""

    TRUSTED = "trusted"
    STALE = "stale"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class _Hook:
    group: int
    index: int
    matcher: object
    handler: Mapping[str, object]


def _ours(hooks: object) -> Iterator[tuple[str, _Hook]]:
    """Our hooks by the name Codex gives their event, and where they stand."""
    for event, name in _STATE_NAMES.items():
        groups = value_at(hooks, ("hooks", event))
        for at, group in enumerate(groups if isinstance(groups, list) else []):
            handlers = value_at(group, ("hooks",))
            for index, one in enumerate(handlers if isinstance(handlers, list) else []):
                if isinstance(one, Mapping) and is_our_hook(one):
                    yield name, _Hook(at, index, value_at(group, ("matcher",)), one)


def _state(machine: Machine, config: object, name: str, hook: _Hook) -> _State:
    file = _folder(machine) / "hooks.json"
    for path in (file, Path(os.path.realpath(file.parent), file.name)):
        key = f"{path}:{name}:{hook.group}:{hook.index}"
        trusted = value_at(config, ("hooks", "state", key, "trusted_hash"))
        if trusted is not None:
            same = trusted == _digest(name, hook)
            return _State.TRUSTED if same else _State.STALE
    return _State.UNKNOWN


def _digest(name: str, hook: _Hook) -> str:
    """By what Codex knows a hook again: its words as canonical JSON (measured)."""
    timeout = hook.handler.get("timeout")
    said: dict[str, object] = {
        "type": "command",
        "command": hook.handler.get("command"),
        "timeout": timeout if isinstance(timeout, int) else _CODEX_TIMEOUT_SECS,
        "async": False,
    }
    identity: dict[str, object] = {"event_name": name, "hooks": [said]}
    if isinstance(hook.matcher, str) and name in _MATCHED:
        identity["matcher"] = hook.matcher
    data = json.dumps(
        identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return f"sha256:{hashlib.sha256(data.encode(errors='replace')).hexdigest()}"


CONFIG = Config(
    traces=_traces,
    files=_files,
    restart="restart codex",
    hook_notes=("Codex asks at its next start whether you trust its hooks: say yes",),
    examine=_examine,
)
