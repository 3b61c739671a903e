"""How far each member got in its rooms (protocol 14.4).

What was handed over is noted when it is written to the socket, kept in memory for at
most a second, and then stored; members that asked for it hear of it as it is stored.
What was *seen* is the member's cursor and never passes through here unstored.
"""

import sqlalchemy as sa

from hub.delivery.notifier import Notifier
from hub.store import receipts
from hub.store.engine import Store
from hub.store.receipts import Moved
from parler.wire.base import AgentId
from parler.wire.replies import Event

FLUSH_SECS = 1.0
"""At most one receipt event per member and so long (protocol 14.3)."""

MAX_WAITING = 100_000
"""Positions kept in memory; a burst beyond is dropped, for later ones tell as much."""


class Receipts:
    """The positions that moved since they were last stored."""

    def __init__(self, store: Store, notifier: Notifier) -> None:
        """Take where positions are stored and who hears of them."""
        self._store = store
        self._notifier = notifier
        self._delivered: dict[tuple[int, AgentId], int] = {}

    def handed_over(self, room: int, agent: AgentId, seq: int) -> None:
        """Note that messages up to `seq` were written to a member's connection."""
        key = (room, agent)
        if len(self._delivered) < MAX_WAITING or key in self._delivered:
            self._delivered[key] = max(seq, self._delivered.get(key, 0))

    def seen(self, room: int, agent: AgentId) -> None:
        """Note that a member's cursor moved, so that the others hear of it."""
        self.handed_over(room, agent, 0)

    async def flush(self) -> None:
        """Store what moved and tell the members; what cannot be stored is kept.

        Raises:
            Refusal: The disk is full.
        """
        if not self._delivered:
            return
        moved, self._delivered = self._delivered, {}

        def store(connection: sa.Connection) -> list[Moved]:
            return receipts.advance(connection, moved)

        try:
            await self._store.write("positions", store, after=self._tell)
        except Exception:
            for (room, agent), seq in moved.items():
                self.handed_over(room, agent, seq)
            raise

    def _tell(self, moved: list[Moved]) -> None:
        for move in moved:
            event = Event(
                event="receipt",
                room=move.room,
                agent=move.agent,
                delivered=move.delivered,
                seen=move.seen,
            )
            self._notifier.tell(event, move.everybody)
