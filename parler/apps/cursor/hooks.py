"""Cursor's hooks; what it is told at the end of a turn becomes the next prompt."""

from collections.abc import Mapping

from parler.apps.kit.hooks import Answer, Event, Hooks


class CursorHooks(Hooks):
    """Those that are its own."""

    def is_of_another(
        self, payload: Mapping[str, object], env: Mapping[str, str]
    ) -> bool:
        """Never: nobody runs them but Cursor."""
        return False

    def context(self, event: Event, text: str) -> Answer | None:
        """Only as a session starts: its prompt hook can only allow or refuse."""
        return {"additional_context": text} if event is Event.SESSION_START else None

    def block(self, text: str) -> Answer:
        """Go on with this as the next prompt."""
        return {"followup_message": text}

    def deny(self, text: str) -> Answer:
        """Do not edit that file; the user and the model are told."""
        return {"permission": "deny", "user_message": text, "agent_message": text}

    def may_continue(self, payload: Mapping[str, object]) -> bool:
        """Not after a turn that was aborted or failed."""
        return payload.get("status", "completed") == "completed"

    def continued(self, payload: Mapping[str, object]) -> int | bool | None:
        """It counts itself."""
        value = payload.get("loop_count")
        return value if isinstance(value, int) else None
