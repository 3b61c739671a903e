"""How an app's hooks tell what happens, and which answers they expect. Pure functions.

A hook's answer is one JSON object. Which of them reaches the model differs by app and
event; where nothing would, there is no answer, so that nothing counts as shown.
"""

import json
from collections.abc import Mapping
from enum import StrEnum

Answer = dict[str, object]


class Event(StrEnum):
    """When an app runs us, in our words."""

    SESSION_START = "session-start"
    PROMPT = "prompt"
    STOP = "stop"
    """The model has ended its turn."""

    IDLE = "idle"
    """As `STOP`, but the app goes on: we wait for mail that comes later."""

    PRE_EDIT = "pre-edit"
    PERMISSION = "permission"
    """The app asks its user whether the model may use a tool."""

    SESSION_END = "session-end"


EVENTS = tuple(event.value for event in Event)


class Hooks:
    """Claude Code's hooks, which others took over with small changes."""

    windows = False
    """Whether each window is a process of its own, above its MCP server and hooks."""

    max_text_bytes = 9_000
    """Of what a model is given at once: Claude Code takes 10,000 characters and stores
    the rest elsewhere, Codex cuts the middle out of more than 10,000 bytes."""

    max_continued = 7
    """Turns continued in a row: Claude Code ends one itself after the eighth."""

    wake_status = 2
    """The exit status by which a hook in the background wakes an idle session."""

    names: Mapping[Event, str] = {
        Event.SESSION_START: "SessionStart",
        Event.PROMPT: "UserPromptSubmit",
    }
    """The events whose answer can add to what the model reads, by the app's names."""

    def context(self, event: Event, text: str) -> Answer | None:
        """Something the model should know; None where the app would not show it."""
        name = self.names.get(event)
        if name is None:
            return None
        return {
            "hookSpecificOutput": {"hookEventName": name, "additionalContext": text}
        }

    def block(self, text: str) -> Answer:
        """Go on instead of ending the turn, with this text."""
        return {"decision": "block", "reason": text}

    def deny(self, text: str) -> Answer:
        """Do not edit that file."""
        return {
            "hookSpecificOutput": {
                "hookEventName": "PreToolUse",
                "permissionDecision": "deny",
                "permissionDecisionReason": text,
            }
        }

    def permission_secs(self, env: Mapping[str, str]) -> int:
        """How long a permission request may wait for us; 0: it is the app's alone."""
        return 0

    def asked_permission(
        self, payload: Mapping[str, object]
    ) -> tuple[str, Mapping[str, object]] | None:
        """The tool of a permission request and its input; None if it asks for more
        than yes or no."""
        return None

    def permit(self) -> Answer:
        """The tool may be used, this once."""
        return _decided({"behavior": "allow"})

    def refuse(self, text: str) -> Answer:
        """It may not; the model is told this."""
        return _decided({"behavior": "deny", "message": text})

    def is_of_another(
        self, payload: Mapping[str, object], env: Mapping[str, str]
    ) -> bool:
        """Whether another app runs this app's hooks, as Cursor does with Claude Code's.

        It has an agent of its own: what waits for this one is not for it.
        """
        return "cursor_version" in payload

    def wakes_by_exit(self, env: Mapping[str, str]) -> bool:
        """Whether exit status 2 of a hook in the background wakes this session."""
        return False

    def may_continue(self, payload: Mapping[str, object]) -> bool:
        """Whether the turn ended in a way after which it can go on."""
        return True

    def continued(self, payload: Mapping[str, object]) -> int | bool | None:
        """How often the turn was continued already, whether it was, or None: unsaid."""
        value = payload.get("stop_hook_active")
        return value if isinstance(value, bool) else None

    def edited_paths(self, payload: Mapping[str, object]) -> list[str]:
        """The files that a tool is about to change, as it names them.

        How they are called differs by app, tool and version; who runs hooks of
        another app keeps its own names.
        """
        found: list[str] = []
        for name in _ARGUMENTS:
            given = payload.get(name)
            if isinstance(given, str):
                given = _object(given) or {"patch": given}
            if isinstance(given, dict):
                found += _named(given)
        return found


_ARGUMENTS = ("tool_input", "toolArgs", "tool_args", "arguments")
_PATH_KEYS = ("file_path", "notebook_path", "path", "filePath", "target_file")
_PATCHED = ("*** Update File: ", "*** Add File: ", "*** Delete File: ", "*** Move to: ")


def _decided(decision: Answer) -> Answer:
    name = "PermissionRequest"
    return {"hookSpecificOutput": {"hookEventName": name, "decision": decision}}


def _named(given: Mapping[str, object]) -> list[str]:
    found: list[str] = []
    for key, value in given.items():
        if not isinstance(value, str):
            continue
        if key in _PATH_KEYS:
            found.append(value)
        elif "*** Begin Patch" in value:
            found += [
                line.partition(": ")[2].strip()
                for line in value.splitlines()
                if line.startswith(_PATCHED)
            ]
    return found


def _object(text: str) -> Mapping[str, object]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
