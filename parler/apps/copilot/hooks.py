"""Copilot CLI's hooks."""

from parler.apps.kit.hooks import Answer, Event, Hooks


class CopilotHooks(Hooks):
    """Those that are its own."""

    def context(self, event: Event, text: str) -> Answer | None:
        """Only as a session starts: what its prompt hook says is dropped."""
        return {"additionalContext": text} if event is Event.SESSION_START else None

    def deny(self, text: str) -> Answer:
        """Do not edit that file."""
        return {"permissionDecision": "deny", "permissionDecisionReason": text}
