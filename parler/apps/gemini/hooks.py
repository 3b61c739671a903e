"""Gemini CLI's hooks: Claude Code's with other names and one word for no."""

from collections.abc import Mapping

from parler.apps.kit.hooks import Answer, Event, Hooks


class GeminiHooks(Hooks):
    """Those that are its own."""

    names: Mapping[Event, str] = {
        Event.SESSION_START: "SessionStart",
        Event.PROMPT: "BeforeAgent",
    }

    def block(self, text: str) -> Answer:
        """Go on instead of ending the turn."""
        return {"decision": "deny", "reason": text}

    def deny(self, text: str) -> Answer:
        """Do not edit that file."""
        return {"decision": "deny", "reason": text}
