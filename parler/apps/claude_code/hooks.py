"""Claude Code's hooks; one that waits in the background wakes an idle session."""

from collections.abc import Mapping

from parler.apps.kit.hooks import Hooks

PERMISSION_SECS = 600
"""How long a permission request waits for a decision elsewhere; its own prompt is on
the screen meanwhile."""

_ASKS_MORE = frozenset({"AskUserQuestion", "EnterPlanMode", "ExitPlanMode"})
"""Tools whose prompt is more than yes or no."""


class ClaudeCodeHooks(Hooks):
    """Those that are its own."""

    windows = True

    def is_of_another(
        self, payload: Mapping[str, object], env: Mapping[str, str]
    ) -> bool:
        """Also of VS Code, and of Cursor by its variables."""
        if super().is_of_another(payload, env) or "hookEventName" in payload:
            return True  # the second is how VS Code writes it
        return "CURSOR_VERSION" in env and "CLAUDE_CODE_ENTRYPOINT" not in env

    def permission_secs(self, env: Mapping[str, str]) -> int:
        """Only in a terminal: elsewhere its own prompt may wait for ours."""
        return PERMISSION_SECS if self.wakes_by_exit(env) else 0

    def asked_permission(
        self, payload: Mapping[str, object]
    ) -> tuple[str, Mapping[str, object]] | None:
        """Of any tool that is allowed or not, and nothing else."""
        tool, given = payload.get("tool_name"), payload.get("tool_input")
        if payload.get("hook_event_name") != "PermissionRequest":
            return None
        if not isinstance(tool, str) or not tool or tool in _ASKS_MORE:
            return None
        return (tool, given) if isinstance(given, dict) else None

    def wakes_by_exit(self, env: Mapping[str, str]) -> bool:
        """Only in a terminal: without one the app waits for the hook to end."""
        return env.get("CLAUDE_CODE_ENTRYPOINT") == "cli"
