"""Reaching the model of a running app from outside of its turns.

For each app that offers a way in, a waker that is found at run time: what is there
depends on how the user started the app. Where there is none, the app's hooks and the
results of our tools carry what waits.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from parler.wake.spool import hooks_seen
from parler.wake.waiter import is_armed


class WakeKind(StrEnum):
    """When the model of a session hears of a message."""

    PUSH = "push"
    """At once, also when the session is idle."""

    TURN = "turn"
    """When its turn ends."""

    NEXT = "next"
    """At its next prompt or tool call."""

    NONE = "none"


class Waker(Protocol):
    """A way to a model."""

    @property
    def kind(self) -> WakeKind:
        """How good it is."""

    async def wake(self, text: str) -> bool:
        """Bring the model a text; True if the app confirmed that it has it.

        Bounded in time, and never raises for what an app does. After False the text
        may have arrived nevertheless.
        """


async def find_waker(
    app: str, *, env: Mapping[str, str], thread_id: str | None, home: Path
) -> Waker | None:
    """The best way into the session above this process; None if there is none now.

    Args:
        thread_id: What the app calls the conversation, if it told us.
        home: The identity's home.
    """
    match app:
        case "claude-code":
            from parler.apps.claude_code.wake import find_armed

            return find_armed(home)
        case "codex":
            from parler.apps.codex.wake import find_codex

            return await find_codex(env, thread_id=thread_id, home=home)
        case "opencode":
            from parler.apps.opencode.wake import find_server

            return await find_server(env, session=thread_id)
    return None


def wake_kind(home: Path, waker: Waker | None) -> WakeKind:
    """How the session of a home hears of messages, given the waker that was found."""
    if waker is not None:
        return waker.kind
    if is_armed(home):
        return WakeKind.PUSH
    return WakeKind.TURN if "stop" in hooks_seen(home) else WakeKind.NEXT
