"""Claude Code's hooks; one that waits in the background wakes an idle session."""

from collections.abc import Mapping

from parler.apps.kit.hooks import Hooks


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

    def wakes_by_exit(self, env: Mapping[str, str]) -> bool:
        """Only in a terminal: without one the app waits for the hook to end."""
        return env.get("CLAUDE_CODE_ENTRYPOINT") == "cli"
