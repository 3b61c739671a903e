"""Chooses the one process that reads the hub, where several run for an identity.

An app may start two servers for one window, and windows share an identity where the
user wants that: if two read and acknowledged, each would miss what the other took.
"""

import asyncio
from contextlib import ExitStack
from pathlib import Path

from parler.errors import ConfigError
from parler.runtime.log_file import LogFile
from parler.wake.spool import consumer

WAIT_SECS = 2.0
"""How often a second window looks whether the first has gone."""

_TRIES, _TRY_SECS = 3, 0.05
"""Somebody who only looks whether there is a reader holds the lock for a moment."""


class Leadership:
    """Held by one process of an identity; the system ends it with the process."""

    def __init__(self, home: Path, log: LogFile) -> None:
        """Not held yet."""
        self.held = False
        self._home = home
        self._log = log
        self._stack = ExitStack()

    async def take(self) -> None:
        """Wait until it is ours."""
        tries = _TRIES
        while not self.held:
            try:
                self._stack.enter_context(consumer(self._home))
            except ConfigError:
                tries -= 1
                if tries == 0:
                    self._log.note("another window reads for this agent")
                await asyncio.sleep(_TRY_SECS if tries > 0 else WAIT_SECS)
            else:
                self.held = True
                self._log.note("reads for this agent")

    def give_up(self) -> None:
        """Let another window have it."""
        self.held = False
        self._stack.close()
