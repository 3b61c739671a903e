"""Waking Claude Code by the hook that waits beside an idle session.

What was offered in the spool is what wakes: the waiting hook takes it and ends, which
starts a turn. Nothing is sent from here; we only see whether it was taken. The app's
messaging socket is not used: its line format is not documented, and nothing confirms
that a message was taken.
"""

import asyncio
from collections.abc import Callable

from parler.apps.kit.waker import WakeContext, WakeKind

TAKEN_SECS = 5.0
_POLL_SECS = 0.1


class ArmedHook:
    """A hook that waits beside the session."""

    kind = WakeKind.PUSH

    def __init__(self, urgent_waits: Callable[[], bool]) -> None:
        self._urgent_waits = urgent_waits

    async def wake(self, text: str) -> bool:
        """Whether the hook takes what the spool offers; `text` must be in there."""
        try:
            async with asyncio.timeout(TAKEN_SECS):
                while True:
                    if not await asyncio.to_thread(self._urgent_waits):
                        return True
                    await asyncio.sleep(_POLL_SECS)
        except TimeoutError:
            return False


async def find_waker(context: WakeContext) -> ArmedHook | None:
    """The hook that waits beside the session, if there is one now."""
    return ArmedHook(context.urgent_waits) if context.is_armed() else None
