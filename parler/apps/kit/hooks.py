"""What each app's hooks expect on stdout, event by event. Pure functions.

A hook's answer is one JSON object. Which of them reaches the model differs by app and
event; where nothing would, there is no answer, so that nothing counts as shown.
"""

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
    SESSION_END = "session-end"


EVENTS = tuple(event.value for event in Event)


class Grammar:
    """Claude Code's answers, which others took over with small changes."""

    windows = False
    """Whether each window is a process of its own, above its MCP server and hooks."""

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


class _Claude(Grammar):
    windows = True

    def is_of_another(
        self, payload: Mapping[str, object], env: Mapping[str, str]
    ) -> bool:
        if super().is_of_another(payload, env) or "hookEventName" in payload:
            return True  # the second is how VS Code writes it
        return "CURSOR_VERSION" in env and "CLAUDE_CODE_ENTRYPOINT" not in env

    def wakes_by_exit(self, env: Mapping[str, str]) -> bool:
        # Without a terminal the app waits for such a hook before it ends.
        return env.get("CLAUDE_CODE_ENTRYPOINT") == "cli"


class _Gemini(Grammar):
    names: Mapping[Event, str] = {
        Event.SESSION_START: "SessionStart",
        Event.PROMPT: "BeforeAgent",
    }

    def block(self, text: str) -> Answer:
        return {"decision": "deny", "reason": text}

    def deny(self, text: str) -> Answer:
        return {"decision": "deny", "reason": text}


class _Cursor(Grammar):
    def is_of_another(
        self, payload: Mapping[str, object], env: Mapping[str, str]
    ) -> bool:
        return False

    def context(self, event: Event, text: str) -> Answer | None:
        # Its prompt hook can only allow or refuse.
        return {"additional_context": text} if event is Event.SESSION_START else None

    def block(self, text: str) -> Answer:
        return {"followup_message": text}

    def deny(self, text: str) -> Answer:
        return {"permission": "deny", "user_message": text, "agent_message": text}

    def may_continue(self, payload: Mapping[str, object]) -> bool:
        return payload.get("status", "completed") == "completed"

    def continued(self, payload: Mapping[str, object]) -> int | bool | None:
        value = payload.get("loop_count")
        return value if isinstance(value, int) else None


class _Copilot(Grammar):
    def context(self, event: Event, text: str) -> Answer | None:
        # What its prompt hook says is dropped.
        return {"additionalContext": text} if event is Event.SESSION_START else None

    def deny(self, text: str) -> Answer:
        return {"permissionDecision": "deny", "permissionDecisionReason": text}


_GRAMMARS: Mapping[str, Grammar] = {
    "claude-code": _Claude(),
    "codex": Grammar(),
    "gemini": _Gemini(),
    "cursor": _Cursor(),
    "copilot": _Copilot(),
}


def grammar_of(app: str) -> Grammar | None:
    """How an app's hooks answer; None for an app whose hooks we do not know."""
    return _GRAMMARS.get(app)
