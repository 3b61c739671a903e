"""Reaching the model of a running app from outside of its turns: what an app declares.

What there is to be known of a session's home is asked of a `WakeContext`, so that an
app needs to know nothing of how mail waits.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


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


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeContext:
    """The session above this process, and what is known of its home."""

    env: Mapping[str, str]
    thread_id: str | None
    """What the app calls the conversation, if it told us."""

    is_armed: Callable[[], bool]
    """Whether a hook waits beside the session."""

    urgent_waits: Callable[[], bool]
    """Whether something is offered to the hooks that may interrupt."""

    hook_session: Callable[[], str | None]
    """The conversation whose hooks ran last."""


FindWaker = Callable[[WakeContext], Awaitable[Waker | None]]
"""The best way into the session; None if there is none now."""
