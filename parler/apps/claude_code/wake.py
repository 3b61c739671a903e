"""Waking Claude Code by the hook that waits beside an idle session.

What was offered in the spool is what wakes: the waiting hook takes it and ends, which
starts a turn. Nothing is sent from here; we only see whether it was taken. The app's
messaging socket is not used: its line format is not documented, and nothing confirms
that a message was taken.
"""

import asyncio
from pathlib import Path

from parler.wake.spool import Spool
from parler.wake.waiter import is_armed
from parler.wake.wakers import WakeKind

TAKEN_SECS = 5.0
_POLL_SECS = 0.1


class ArmedHook:
    """A hook that waits beside the session."""

    kind = WakeKind.PUSH

    def __init__(self, home: Path) -> None:
        self._spool = Spool(home)

    async def wake(self, text: str) -> bool:
        """Whether the hook takes what the spool offers; `text` must be in there."""
        try:
            async with asyncio.timeout(TAKEN_SECS):
                while True:
                    if not await asyncio.to_thread(self._waits):
                        return True
                    await asyncio.sleep(_POLL_SECS)
        except TimeoutError:
            return False

    def _waits(self) -> bool:
        return any(item.urgent for item in self._spool.waiting())


def find_armed(home: Path) -> ArmedHook | None:
    """The waiting hook of a home, if there is one now."""
    return ArmedHook(home) if is_armed(home) else None
