"""Which of our tools may run without asking the user, and how our entries are known.

Allowed are tools that read, and tools that speak in rooms the user has entered. Not
among them is whatever lets somebody in, hands out a key, writes or sends a file,
starts a process or deletes: those stay the user's decision, call by call. Where an
app shows our form to its user, the form is that decision.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath

SERVER = "parler"
"""What our server is called in every app."""

SAFE_TOOLS = (
    "parler_rooms",
    "parler_roster",
    "parler_session",
    "parler_peers",
    "parler_discover",
    "parler_card",
    "parler_recall",
    "parler_join_requests",
    "parler_recv",
    "parler_seen",
    "parler_status",
    "parler_send",
    "parler_handoff",
    "parler_task",
    "parler_answer",
    "parler_ask_user",
    "parler_remember",
    "parler_presence",
    "parler_summary",
)

ASKED_TOOLS = ("parler_approve_join",)
"""For apps that show forms: the server carries these out after a yes to its own form
only, and an app that can show none cannot call them to any effect."""

LEGACY_RULES = (f"mcp__{SERVER}__*", f"mcp__{SERVER}", "Bash(parler *)")
"""Too wide, as an earlier client wrote them."""

_NOT_KEPT = ("trust", "default_tools_approval_mode", "PARLER_JOIN_SECRET", "PARLER_HUB")
_THEIRS = ("enabled", "disabled")
_APPROVED = "autoApprove"
_IN_A_BLANKET = (*ASKED_TOOLS, "parler_delete_room")

_HOOK = re.compile(
    r"\bhook\s+(?:session-start|session-end|prompt|stop|wake|idle|pre-edit|permission)\b"
)
_ENV_PREFIX = re.compile(r"^(?:\s*[A-Z_]+=(?:'[^']*'|\"[^\"]*\"|\S*)\s+)+")
_OUR_NAMES = frozenset({"parler", "parler.exe"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A server as an app has it, whatever the shape."""

    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    disabled: bool = False

    @classmethod
    def of(cls, value: object) -> "Entry | None":
        """The entry behind an app's own value, None if it has no command."""
        if not isinstance(value, Mapping):
            return None
        transport = value.get("transport")
        inner = transport if isinstance(transport, Mapping) else value
        words = _words(inner.get("command") or inner.get("cmd"), inner.get("args"))
        if not words:
            return None
        env: dict[str, str] = {}
        for name in ("env", "environment", "envs"):
            given = inner.get(name) or value.get(name)
            if isinstance(given, Mapping):
                env |= {str(key): str(one) for key, one in given.items()}
        off = value.get("disabled") is True or value.get("enabled") is False
        return cls(command=words, env=env, disabled=off)

    @property
    def is_ours(self) -> bool:
        """Whether it starts a parler's MCP server."""
        return "mcp" in self.command[1:] and any(
            _base(word) in _OUR_NAMES for word in self.command
        )


def is_our_server(value: object) -> bool:
    """Whether an app's server entry is one of ours, or of the existing client."""
    entry = Entry.of(value)
    return entry is not None and entry.is_ours


def settled(current: object, wanted: object) -> object:
    """An entry of ours as it should be, with what the user or the app added to it.

    Whether it is switched on is theirs to say. What lets every tool run, holds a
    secret or names a hub is not kept: an earlier client wrote that.
    """
    if not isinstance(current, Mapping) or not isinstance(wanted, Mapping):
        return wanted
    kept = {key: one for key, one in current.items() if key not in _NOT_KEPT}
    for key, one in wanted.items():
        if key in _THEIRS and key in kept:
            continue
        if key == _APPROVED and _is_narrow(kept.get(key), one):
            continue
        kept[key] = settled(kept.get(key), one)
    return kept


def _is_narrow(current: object, wanted: object) -> bool:
    """Whether a list of tools is ours and what the user added, and no blanket."""
    if not isinstance(current, list) or not isinstance(wanted, list):
        return False
    return all(tool in current for tool in wanted) and not all(
        tool in current for tool in _IN_A_BLANKET
    )


def is_our_hook_command(command: object) -> bool:
    """Whether a hook's command line is one of ours, or of the existing client."""
    if not isinstance(command, str) or not (found := _HOOK.search(command)):
        return False
    program = _ENV_PREFIX.sub("", command[: found.start()])
    words = program.replace("'", " ").replace('"', " ").split()
    return any(_base(word) in _OUR_NAMES for word in words)


def is_our_hook(item: object) -> bool:
    """Whether a hook, or a group that holds nothing else, is ours."""
    if not isinstance(item, Mapping):
        return False
    inner = item.get("hooks")
    if isinstance(inner, list):
        return bool(inner) and all(is_our_hook(one) for one in inner)
    commands = [item.get(name) for name in ("command", "bash", "powershell")]
    return any(is_our_hook_command(command) for command in commands)


def is_our_rule(item: object) -> bool:
    """Whether a permission of Claude Code is one that we or an earlier client gave."""
    ours = {f"mcp__{SERVER}__{tool}" for tool in (*SAFE_TOOLS, *ASKED_TOOLS)}
    return isinstance(item, str) and (item in ours or item in LEGACY_RULES)


def _words(command: object, args: object) -> tuple[str, ...]:
    head = command if isinstance(command, list) else [command] if command else []
    tail = args if isinstance(args, list) else []
    return tuple(str(word) for word in [*head, *tail])


def _base(word: str) -> str:
    # A path of the other platform, too: a home may be shared by both.
    return PureWindowsPath(PurePosixPath(word).name).name.lower()
