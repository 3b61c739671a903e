"""A lock on disk that lets an identity have one worker only in each room.

The hub would take two for the same agent: it renews the lease of a task for whichever
asks, and what one acknowledges the other never sees.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from parler.errors import UsageError
from parler.machine.files import Unwritable, locked
from parler.text.terminal import word
from parler.wire.base import AgentId, RoomName
from parler.workers.ledger import ledger_path


@contextmanager
def worker_lock(home: Path, agent: AgentId, room: RoomName) -> Iterator[None]:
    """Be this identity's only worker of a room; the system ends it with the process.

    Raises:
        UsageError: There is another one.
    """
    suffix = f".{hashlib.sha256(room.encode()).hexdigest()[:16]}.worker"
    with ExitStack() as stack:
        try:
            stack.enter_context(
                locked(ledger_path(home, agent).with_suffix(suffix), wait_secs=0)
            )
        except Unwritable as held:
            raise UsageError(
                f"another worker of this identity is in {word(room)} already "
                f"({held.message})",
                next_step="end it, or give this one an identity of its own: "
                "PARLER_AGENT_SESSION=second parler …",
            ) from None
        yield
